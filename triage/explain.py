"""What the slow requests of a window have in common that the fast ones have not."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from triage.model import Line, Window
from triage.separate import Separation, separations, varies
from triage.spike import SLOW, Spike, find_spike, largest
from triage.stores import LogStore, MetricStore
from triage.tally import Tally

#: The objective, in milliseconds.
SLOW_MS = SLOW * 1000

_TIME = "*_ms"
_FAULT = "fault*"  # names what the lab did: who reads it needs no explanation
_EFFECTS = ("status", "outcome", "level", "truncated", "*_calls", "error*")
_EXAMPLES = 3
_LAG = "loop_lag_ms"


class Part(NamedTuple):
    """A part of the latency, on average in slow and fast requests; `share` of the difference of the two."""

    name: str
    slow_ms: float
    fast_ms: float
    share: float


class Explanation(NamedTuple):
    """What separates slow from fast requests of a window.

    `window` is None if none was given and there was no spike; then nothing else is known. `causes` are fields that were
    so before the latency was; `effects` are what follows from it, or with it. `looked_at` could have been a cause.
    """

    service: str
    slow_ms: float
    window: Window | None
    found_by: str
    spike: Spike | None = None
    slow: int = 0
    fast: int = 0
    causes: tuple[Separation, ...] = ()
    effects: tuple[Separation, ...] = ()
    looked_at: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    examples: tuple[Line, ...] = ()


def explain(
    logs: LogStore,
    metrics: MetricStore | None,
    service: str = "api",
    window: Window | None = None,
    slow_ms: float = SLOW_MS,
) -> Explanation:
    """Explain the slow requests of a window: the one that is given, or that of the largest spike."""
    spike, found_by = None, "given"
    if window is None:
        spike, found_by = _find(logs, metrics, service, slow_ms)
        if spike is None:
            return Explanation(service, slow_ms, None, found_by)
        window = spike.window
    tally = logs.tally(service, window, slow_ms, (_TIME, _FAULT, "timestamp"))
    return explained(tally, Explanation(service, slow_ms, window, found_by, spike))


def explained(tally: Tally, about: Explanation) -> Explanation:
    """Fill in what the counts say."""
    effects = [field for field in tally.fields if _is_effect(field.name)]
    candidates = [field for field in tally.fields if not _is_effect(field.name)]
    causes = tuple(separations(candidates, tally.counts))
    return about._replace(
        slow=sum(tally.counts.slow),
        fast=sum(tally.counts.fast),
        causes=causes,
        effects=tuple(separations(effects, tally.counts)),
        looked_at=tuple(field.name for field in candidates if varies(field, tally.counts)),
        parts=_parts(tally),
        examples=_examples(tally, causes),
    )


def _find(logs: LogStore, metrics: MetricStore | None, service: str, slow_ms: float) -> tuple[Spike | None, str]:
    scrapes = metrics.scrapes(service) if metrics else ()
    if scrapes:
        return find_spike(scrapes, slow_ms / 1000), "metrics"
    return largest(logs.rates(service, slow_ms)), "lines"


def _is_effect(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _EFFECTS)


def _parts(tally: Tally) -> tuple[Part, ...]:
    """Share out the difference of the means: a timer is a field that comes with a number of calls."""
    slow, fast = sum(tally.counts.slow), sum(tally.counts.fast)
    means = {name: (of_slow / max(1, slow), of_fast / max(1, fast)) for name, (of_slow, of_fast) in tally.sums.items()}
    all_slow, all_fast = means.get("duration_ms", (0.0, 0.0))
    if not slow or not fast or all_slow <= all_fast:
        return ()
    timers = part_names(dict.fromkeys((*means, *(field.name for field in tally.fields))))
    known = {name: means[name] for name in timers if name in means}
    rest = all_slow - sum(each[0] for each in known.values()), all_fast - sum(each[1] for each in known.values())
    parts = [Part(name, *mean, (mean[0] - mean[1]) / (all_slow - all_fast)) for name, mean in known.items()]
    parts.append(Part("rest", *rest, (rest[0] - rest[1]) / (all_slow - all_fast)))
    return tuple(sorted(parts, key=lambda part: -part.share))


def part_names(fields: Mapping[str, object]) -> list[str]:
    """Return the fields that are parts of a request's latency."""
    return [
        name
        for name in fields
        if name == _LAG or (name.endswith("_ms") and f"{name.removesuffix('_ms')}_calls" in fields)
    ]


def _examples(tally: Tally, causes: tuple[Separation, ...]) -> tuple[Line, ...]:
    """Return slow requests that the first cause is about, the slowest first."""
    if not causes:
        return tally.slow_lines[:_EXAMPLES]
    first = causes[0]
    like_it = [line for line in tally.slow_lines if any(_has(line, first.field, value.json) for value in first.values)]
    return tuple((like_it or list(tally.slow_lines))[:_EXAMPLES])


def _has(line: Line, field: str, text: str | None) -> bool:
    if text is None or field not in line.fields:
        return text is None and field not in line.fields
    try:
        return bool(json.loads(text, parse_constant=str) == line.fields[field])
    except (ValueError, RecursionError):
        return False
