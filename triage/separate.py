"""Which field separates slow from fast requests: chosen on one half of them, measured on the other."""

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

from triage.chance import binomial_tail, hypergeometric_tail
from triage.tally import Counts, Field, Value

_FACTOR = 1.2  # a value counts if it is slow this much more often than all
_WEIGHT = 4.0  # requests like all others that every value is given, so that few tell little
_CHOSEN = 0.05  # how likely chance may be where a value is chosen; the other half of the requests puts it right
_SHOWN = 0.01  # ... where it is told to a person
_LEVEL = 0.001  # how likely chance may be in all fields together
_WEAKEST = 0.2  # below this, knowing it helps nobody


class Separation(NamedTuple):
    """A field whose `values` separate slow from fast, with how many of each have one of them.

    `strength` is the share of the slow requests with these values less that of the fast ones: 1 separates them all,
    0 is chance; measured on requests that had no part in the choice. `chance` is how likely chance does as well.
    """

    field: str
    values: tuple[Value, ...]
    slow: int
    fast: int
    strength: float
    chance: float


def separations(fields: Sequence[Field], counts: Counts) -> list[Separation]:
    """Return the fields that separate, the strongest first; of equals, that with the fewest values."""
    if not all(counts.slow) or not all(counts.fast):
        return []
    varying = [field for field in fields if varies(field, counts)]
    found = [each for field in varying if (each := _measured(field, counts, len(varying)))]
    return sorted(found, key=lambda each: (-round(each.strength, 2), len(each.values), each.field))


def varies(field: Field, counts: Counts) -> bool:
    """Say whether a field is not the same in all requests."""
    return field.distinct > 1 or _absent(field, counts) is not None


def _measured(field: Field, counts: Counts, tests: int) -> Separation | None:
    absent = _absent(field, counts)
    values = [*field.values, *([absent] if absent else [])]
    slow = fast = 0
    strengths = []
    for learned, held_out in ((0, 1), (1, 0)):
        chosen = _chosen(values, counts, (learned,), _CHOSEN)
        covered = sum(each.counts.slow[held_out] for each in chosen), sum(each.counts.fast[held_out] for each in chosen)
        strengths.append(covered[0] / counts.slow[held_out] - covered[1] / counts.fast[held_out])
        slow, fast = slow + covered[0], fast + covered[1]
    all_slow, all_fast = sum(counts.slow), sum(counts.fast)
    chance = min(1.0, tests * hypergeometric_tail(slow, slow + fast, all_slow, all_slow + all_fast))
    strength = fsum(strengths) / len(strengths)
    # What the field does not explain is what chance has to do with.
    shown = _chosen(values, counts, (0, 1), _SHOWN, 1 - max(0.0, strength)) or _chosen(values, counts, (0, 1), _CHOSEN)
    if strength < _WEAKEST or chance > _LEVEL or not shown:
        return None
    shown.sort(key=lambda each: (-sum(each.counts.slow), each.json or ""))
    covered = sum(sum(each.counts.slow) for each in shown), sum(sum(each.counts.fast) for each in shown)
    return Separation(field.name, tuple(shown), *covered, strength, chance)


def _chosen(
    values: Sequence[Value], counts: Counts, halves: Sequence[int], level: float, unexplained: float = 1.0
) -> list[Value]:
    """Return the values that are slow clearly more often than all, as seen in these halves."""
    slow, fast = _within(counts, halves)
    share = slow / (slow + fast)
    chosen = []
    for value in values:
        its_slow, its_fast = _within(value.counts, halves)
        number = its_slow + its_fast
        smoothed = (its_slow + _WEIGHT * share) / (number + _WEIGHT)
        if smoothed > _FACTOR * share and binomial_tail(its_slow, number, share * unexplained) <= level:
            chosen.append(value)
    return chosen


def _within(counts: Counts, halves: Sequence[int]) -> tuple[int, int]:
    return sum(counts.slow[half] for half in halves), sum(counts.fast[half] for half in halves)


def _absent(field: Field, counts: Counts) -> Value | None:
    """Return what is true of the requests without the field, if there are any."""
    slow = counts.slow[0] - field.present.slow[0], counts.slow[1] - field.present.slow[1]
    fast = counts.fast[0] - field.present.fast[0], counts.fast[1] - field.present.fast[1]
    return Value(None, Counts(slow, fast)) if sum(slow) + sum(fast) > 0 else None
