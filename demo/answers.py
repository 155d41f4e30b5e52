"""What the story asks: when was the spike, how slow was it, and what do slow requests have in common."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from demo.evidence import Evidence, Line

SLOW = 0.5  # seconds: the objective
_BUCKETS = "http_request_duration_seconds_bucket"
_PARTS = {"db_ms": "in the database", "pool_wait_ms": "waiting for a connection", "upstream_ms": "in payments"}
_GAP = 4.0  # seconds without slow requests that do not end a spike
_FEWEST = 3  # slow requests; fewer are none
_SHARE = 0.5  # of a value's requests have to be slow, or the value tells nothing


class Spike(NamedTuple):
    """When requests were slow, in seconds since 1970."""

    start: float
    end: float


class Common(NamedTuple):
    """A field whose values tell slow requests from fast ones: the share of each that has one of them."""

    field: str
    values: list[str]
    slow: float
    fast: float


def find_spike(samples: Sequence[Line]) -> Spike | None:
    """Find the spike of the service in its metrics; a slow request began before it could be counted."""
    bad: list[tuple[float, float, int]] = []
    for start, end, slow, arrived in _intervals([s for s in samples if s["service"] == "api"]):
        if slow and (not bad or start - bad[-1][1] <= _GAP):
            bad.append((min([start, *arrived]), end, slow))
        elif slow and sum(count for *_, count in bad) < _FEWEST:
            bad = [(min([start, *arrived]), end, slow)]
    if sum(count for *_, count in bad) < _FEWEST:
        return None
    return Spike(min(start for start, *_ in bad), bad[-1][1])


def seconds(line: Line) -> float:
    """Return when a line was written, in seconds since 1970."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def finished(evidence: Evidence) -> list[Line]:
    """Return the finished requests of the service, in order."""
    lines = [line for (service, *_), lines in evidence.finished.items() if service == "api" for line in lines]
    return sorted(lines, key=lambda line: str(line["timestamp"]))


def lines(evidence: Evidence, trace_id: str) -> list[Line]:
    """Return the lines of a request from all services, in order, without those that say little."""
    found = [line for span in evidence.spans.values() for line in span if line["trace_id"] == trace_id]
    telling = [line for line in found if line["message"] != "Statement done"]
    return sorted(telling, key=lambda line: str(line["timestamp"]))


def services(evidence: Evidence, trace_id: str) -> set[str]:
    """Return the services that have lines of a request."""
    return {line["service"] for line in lines(evidence, trace_id)}


def percentile(durations: Sequence[float], share: float) -> float | None:
    """Return the duration that `share` of the requests do not exceed, or `None` if there are no requests."""
    return sorted(durations)[math.ceil(share * len(durations)) - 1] if durations else None


def common(requests: Sequence[Line], fields: Sequence[str] = ("user_id", "route", "method", "status")) -> list[Common]:
    """Return the fields that tell slow requests from fast ones, the best first."""
    found = []
    slow = [line for line in requests if _slow(line)]
    for field in fields:
        all_of = Counter(str(line.get(field, "-")) for line in requests)
        slow_of = Counter(str(line.get(field, "-")) for line in slow)
        values = [value for value, count in slow_of.most_common() if count > _SHARE * all_of[value]]
        if not values:
            continue
        among_slow = sum(slow_of[value] for value in values)
        among_all = sum(all_of[value] for value in values)
        fast = (among_all - among_slow) / max(1, len(requests) - len(slow))
        found.append(Common(field, sorted(values, key=lambda v: (len(v), v)), among_slow / len(slow), fast))
    return sorted(found, key=lambda each: each.fast - each.slow)


def breakdown(requests: Sequence[Line]) -> dict[str, float]:
    """Return the mean milliseconds of each part of the slow requests' time."""
    slow = [line for line in requests if _slow(line)]
    parts: dict[str, float] = defaultdict(float)
    for line in slow:
        for name, meaning in _PARTS.items():
            parts[meaning] += line.get(name, 0) / len(slow)
        parts["duration_ms"] += line["duration_ms"] / len(slow)
    return dict(parts)


def _slow(line: Line) -> bool:
    return bool(line["duration_ms"] > SLOW * 1000)


def _intervals(samples: Sequence[Line]) -> Iterator[tuple[float, float, int, list[float]]]:
    """Yield start and end of the time between two scrapes, its slow requests, and when those known of arrived."""
    scrapes: dict[float, list[Line]] = defaultdict(list)
    for sample in samples:
        if sample["metric"] == _BUCKETS:
            scrapes[seconds(sample)].append(sample)
    before, last = 0.0, 0.0
    for at in sorted(scrapes):
        over = [sample for sample in scrapes[at] if float(sample["le"]) > SLOW]
        total = sum(sample["value"] for sample in over if sample["le"] == "+Inf")
        good = sum(sample["value"] for sample in scrapes[at] if float(sample["le"]) == SLOW)
        dots = [sample["exemplar"] for sample in over if sample["exemplar"]]
        arrived = [dot["timestamp"] - dot["value"] for dot in dots if last < dot["timestamp"] <= at]
        if last:
            yield last, at, int(total - good - before), arrived
        before, last = total - good, at
