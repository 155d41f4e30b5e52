"""Whether the dots lead to the lines: each exemplar to exactly one request, which is as the dot says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from demo.evidence import Evidence, Line

_BUCKETS = "http_request_duration_seconds_bucket"
_FEWEST = 3  # buckets: fast requests alone are in one or two


class Exemplar(NamedTuple):
    """A dot: whose it is, where it stands, and what it says."""

    service: str
    method: str
    route: str
    status: str
    above: float
    upto: float
    trace_id: str
    span_id: str
    value: float


def exemplars(samples: Sequence[Line]) -> list[Exemplar]:
    """Return the exemplars that were seen, each once."""
    buckets = [sample for sample in samples if sample["metric"] == _BUCKETS]
    bounds = sorted({float(sample["le"]) for sample in buckets})
    above = dict(zip(bounds, [0.0, *bounds], strict=False))
    seen = {
        Exemplar(
            sample["service"],
            **sample["labels"],
            above=above[float(sample["le"])],
            upto=float(sample["le"]),
            trace_id=dot["trace_id"],
            span_id=dot["span_id"],
            value=dot["value"],
        )
        for sample in buckets
        if (dot := sample["exemplar"])
    }
    return sorted(seen)


def wrong(evidence: Evidence, dots: Sequence[Exemplar]) -> Iterator[str]:
    """Yield what does not hold, with ids."""
    buckets = {dot.upto for dot in dots}
    if len(buckets) < _FEWEST:
        yield f"exemplars are in {len(buckets)} buckets only"
    suffered = [line for lines in evidence.finished.values() for line in lines if line.get("fault_active")]
    if evidence.faults and not any(_line(evidence, dot).get("fault_active") for dot in dots):
        yield f"{len(suffered)} requests suffered, and no exemplar is one of them"
    for dot in dots:
        yield from (f"exemplar {dot.trace_id}/{dot.span_id}: {trouble}" for trouble in _compare(evidence, dot))
    for (service, span_id), lines in evidence.spans.items():
        traces = {line["trace_id"] for line in lines}
        if len(traces) > 1:
            yield f"span {span_id} of {service} is in the traces {', '.join(sorted(traces))}"


def _compare(evidence: Evidence, dot: Exemplar) -> Iterator[str]:
    lines = evidence.finished.get((dot.service, dot.trace_id, dot.span_id), [])
    if len(lines) != 1:
        yield f"{len(lines)} lines of {dot.service} say that it is finished"
        return
    said: Mapping[str, Any] = lines[0]
    for name, value in (("method", dot.method), ("route", dot.route), ("status", dot.status)):
        if str(said[name]) != value:
            yield f"{name} is {value} there, and {said[name]} in its line"
    if said["duration_ms"] != round(dot.value * 1000, 3):
        yield f"it took {dot.value} s there, and {said['duration_ms']} ms in its line"
    if not dot.above < dot.value <= dot.upto:
        yield f"{dot.value} s are not in the bucket above {dot.above} up to {dot.upto}"


def _line(evidence: Evidence, dot: Exemplar) -> Line:
    lines = evidence.finished.get((dot.service, dot.trace_id, dot.span_id))
    return lines[0] if lines else {}
