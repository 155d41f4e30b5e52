"""One request: its lines from all services, and where its time went."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from triage.explain import part_names
from triage.model import Line, Traced
from triage.stores import LogStore


class Breakdown(NamedTuple):
    """Where the time of one finished request went: parts and rest, in milliseconds."""

    line: Line
    duration_ms: float
    parts: tuple[tuple[str, float], ...]


class Story(NamedTuple):
    """What was logged for an id, in order; with the time of each request that its first service finished."""

    asked: str
    traced: Traced
    breakdowns: tuple[Breakdown, ...]


def trace(logs: LogStore, any_id: str) -> Story:
    """Return the story of a trace id, or of the trace that has this request id; without lines if nobody knows it."""
    traced = logs.trace(any_id)
    return Story(any_id, traced, tuple(breakdowns(traced.lines)))


def breakdowns(lines: Sequence[Line]) -> Iterable[Breakdown]:
    """Return the time of each request that was finished at the service at which the first of all arrived."""
    finished = [(line, number(line, "duration_ms")) for line in lines if line.fields.get("event") == "request.finished"]
    if not finished:
        return []
    front = min(finished, key=lambda each: each[0].at - each[1] / 1000)[0].fields.get("service")
    return [_breakdown(*each) for each in finished if each[0].fields.get("service") == front]


def _breakdown(line: Line, duration: float) -> Breakdown:
    parts = [(name, number(line, name)) for name in part_names(line.fields)]
    # What waits for two things at once, or is a part of another, would leave less than nothing.
    rest = max(0.0, duration - sum(each for _, each in parts))
    return Breakdown(line, duration, (*((name, each) for name, each in parts if each > 0), ("rest", rest)))


def number(line: Line, field: str) -> float:
    """Return a number of a line that is not negative; what is none is 0."""
    value = line.fields.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(min(max(value, 0), 1e15))
