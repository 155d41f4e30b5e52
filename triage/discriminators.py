"""Fields that discriminate slow from fast requests: values are chosen on one half and measured on the other."""

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

from triage.models import Counts, Field, FieldValue
from triage.significance import binomial_tail, hypergeometric_tail

_MIN_LIFT = 1.2  # how much more often than average a value has to be slow
_PRIOR_REQUESTS = 4.0  # average requests that are added to every value, so that rare values count less
_CHOOSE_LEVEL = 0.05  # significance for choosing a value; the other half of the requests corrects errors
_SHOW_LEVEL = 0.01  # significance for showing a value
_FIELD_LEVEL = 0.001  # significance of a field, corrected for the number of fields
_MIN_STRENGTH = 0.2


class Discriminator(NamedTuple):
    """A field whose `values` separate slow from fast requests; `slow` and `fast` have one of them.

    `strength` is the share of slow requests with these values minus the share of fast ones, measured on requests that
    were not used to choose the values: 1 is a perfect separation, 0 is chance. `p_value` is corrected for the number
    of fields that were compared.
    """

    field: str
    values: tuple[FieldValue, ...]
    slow: int
    fast: int
    strength: float
    p_value: float


def find_discriminators(fields: Sequence[Field], counts: Counts) -> list[Discriminator]:
    """Return the fields that discriminate, the strongest first; of equals, the one with the fewest values."""
    if not all(counts.slow) or not all(counts.fast):
        return []
    varying = [field for field in fields if varies(field, counts)]
    found = [each for field in varying if (each := _measure(field, counts, len(varying)))]
    return sorted(found, key=lambda each: (-round(each.strength, 2), len(each.values), each.field))


def varies(field: Field, counts: Counts) -> bool:
    """Return whether a field differs between requests."""
    return field.distinct > 1 or _absent(field, counts) is not None


def _measure(field: Field, counts: Counts, tests: int) -> Discriminator | None:
    absent = _absent(field, counts)
    values = [*field.values, *([absent] if absent else [])]
    slow = fast = 0
    strengths = []
    for training, held_out in ((0, 1), (1, 0)):
        chosen = _choose(values, counts, (training,), _CHOOSE_LEVEL)
        covered = sum(each.counts.slow[held_out] for each in chosen), sum(each.counts.fast[held_out] for each in chosen)
        strengths.append(covered[0] / counts.slow[held_out] - covered[1] / counts.fast[held_out])
        slow, fast = slow + covered[0], fast + covered[1]
    all_slow, all_fast = sum(counts.slow), sum(counts.fast)
    p_value = min(1.0, tests * hypergeometric_tail(slow, slow + fast, all_slow, all_slow + all_fast))
    strength = fsum(strengths) / len(strengths)
    # Only the slow requests that the field does not explain can be due to chance.
    unexplained = 1 - max(0.0, strength)
    shown = _choose(values, counts, (0, 1), _SHOW_LEVEL, unexplained) or _choose(values, counts, (0, 1), _CHOOSE_LEVEL)
    if strength < _MIN_STRENGTH or p_value > _FIELD_LEVEL or not shown:
        return None
    shown.sort(key=lambda each: (-sum(each.counts.slow), each.json or ""))
    covered = sum(sum(each.counts.slow) for each in shown), sum(sum(each.counts.fast) for each in shown)
    return Discriminator(field.name, tuple(shown), *covered, strength, p_value)


def _choose(
    values: Sequence[FieldValue], counts: Counts, halves: Sequence[int], level: float, unexplained: float = 1.0
) -> list[FieldValue]:
    """Return the values that are slow significantly more often than average in the given halves."""
    slow, fast = _within(counts, halves)
    share = slow / (slow + fast)
    chosen = []
    for value in values:
        value_slow, value_fast = _within(value.counts, halves)
        number = value_slow + value_fast
        smoothed = (value_slow + _PRIOR_REQUESTS * share) / (number + _PRIOR_REQUESTS)
        if smoothed > _MIN_LIFT * share and binomial_tail(value_slow, number, share * unexplained) <= level:
            chosen.append(value)
    return chosen


def _within(counts: Counts, halves: Sequence[int]) -> tuple[int, int]:
    return sum(counts.slow[half] for half in halves), sum(counts.fast[half] for half in halves)


def _absent(field: Field, counts: Counts) -> FieldValue | None:
    """Return the requests without the field as one more value, if there are any."""
    slow = counts.slow[0] - field.present.slow[0], counts.slow[1] - field.present.slow[1]
    fast = counts.fast[0] - field.present.fast[0], counts.fast[1] - field.present.fast[1]
    return FieldValue(None, Counts(slow, fast)) if sum(slow) + sum(fast) > 0 else None
