"""Whether nothing is missing, nothing is there twice: what was sent, what was logged, what was counted."""

from collections import Counter
from collections.abc import Iterator, Sequence

from demo.evidence import Evidence, Line

Series = tuple[str, str, str]

_COUNT = "http_request_duration_seconds_count"
_OURS = {"/faults", "/readyz"}  # the demo's own requests
_KEYS = ("request_id", "trace_id", "method", "route", "status")


def ids_wrong(evidence: Evidence) -> Iterator[str]:
    """Yield the requests whose lines are not what the load sent and saw."""
    sent = Counter(tuple(line[key] for key in _KEYS) for line in evidence.sent)
    logged = Counter(
        tuple(line.get(key) for key in _KEYS) for line in _finished(evidence, "api") if line["route"] not in _OURS
    )
    if not sent:
        yield "the load recorded nothing"
    for said, where, there, elsewhere in (
        ("was sent, and has no such line", "load", sent, logged),
        ("has a line, and was not sent like that", "api", logged, sent),
    ):
        for request_id, trace_id, method, route, status in there - elsewhere:
            yield f"{request_id} {said} (trace {trace_id}, {method} {route}, {status} says {where})"


def counters_wrong(evidence: Evidence) -> Iterator[str]:
    """Yield the series whose counters did not grow by as much as there are lines."""
    for service in sorted({service for service, *_ in evidence.finished}):
        samples = [s for s in evidence.samples if s["metric"] == _COUNT and s["service"] == service]
        times = sorted({s["timestamp"] for s in evidence.samples if s["service"] == service})
        first, last = times[0], times[-1]
        grown = _at(samples, last)
        grown.subtract(_at(samples, first))
        lines = Counter(
            (line["method"], line["route"], str(line["status"]))
            for line in _finished(evidence, service)
            if first < line["timestamp"] <= last
        )
        for series in sorted({*grown, *lines}):
            if grown[series] != lines[series]:
                yield f"{service} counted {grown[series]} times {' '.join(series)}, and wrote {lines[series]} lines"


def _at(samples: Sequence[Line], time: str) -> Counter[Series]:
    counted: Counter[Series] = Counter()
    for sample in samples:
        if sample["timestamp"] == time:
            labels = sample["labels"]
            counted[labels["method"], labels["route"], labels["status"]] += int(sample["value"])
    return counted


def _finished(evidence: Evidence, service: str) -> list[Line]:
    return [line for (wrote, *_), lines in evidence.finished.items() if wrote == service for line in lines]
