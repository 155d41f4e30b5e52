"""Query Loki and Prometheus."""

import json
import time
from typing import Any, NamedTuple

import httpx2

from tests.emitted import Line


class StoredLine(NamedTuple):
    """A line in Loki. As in Loki's responses, `labels` include structured metadata."""

    labels: dict[str, str]
    fields: Line


class Exemplar(NamedTuple):
    """An exemplar in Prometheus."""

    series: dict[str, str]
    labels: dict[str, str]
    value: float
    time: float


def lines(loki: str, query: str, minutes: float = 15) -> list[StoredLine]:
    """Return the lines of a LogQL query, in the order of their timestamps."""
    now = time.time()
    parameters: dict[str, str | float] = {
        "query": query,
        "limit": 5000,
        "direction": "forward",
        "start": now - minutes * 60,
        "end": now + 60,
    }
    answer = httpx2.get(f"{loki}/loki/api/v1/query_range", params=parameters, timeout=30).raise_for_status().json()
    found = [
        (int(nanoseconds), StoredLine(stream["stream"], json.loads(text)))
        for stream in answer["data"]["result"]
        for nanoseconds, text in stream["values"]
    ]
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def lines_of(loki: str, trace_id: str) -> list[StoredLine]:
    """Return the lines of one trace, from all services."""
    return lines(loki, f'{{service_name=~".+"}} | trace_id="{trace_id}"')


def series(loki: str, query: str) -> list[dict[str, str]]:
    """Return the labels of all streams that match a selector."""
    now = time.time()
    parameters: dict[str, str | float] = {"match[]": query, "start": now - 900, "end": now + 60}
    found: list[dict[str, str]] = (
        httpx2.get(f"{loki}/loki/api/v1/series", params=parameters).raise_for_status().json()["data"]
    )
    return found


def exemplars(prometheus: str, since: float, until: float | None = None) -> list[Exemplar]:
    """Return the exemplars of the latency histogram in a time range."""
    query: dict[str, str | float] = {
        "query": "http_request_duration_seconds_bucket",
        "start": since,
        "end": until or time.time() + 60,
    }
    answer = httpx2.get(f"{prometheus}/api/v1/query_exemplars", params=query).raise_for_status().json()
    return [
        Exemplar(found["seriesLabels"], exemplar["labels"], float(exemplar["value"]), exemplar["timestamp"])
        for found in answer["data"]
        for exemplar in found["exemplars"]
    ]


def query(prometheus: str, expr: str) -> list[dict[str, Any]]:
    """Return the result of an instant PromQL query."""
    answer = httpx2.get(f"{prometheus}/api/v1/query", params={"query": expr}).raise_for_status().json()
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def matches(exemplar: Exemplar, line: Line | None) -> bool:
    """Return whether a `request.finished` line is that of the exemplar: the same request, instance and duration."""
    if line is None:
        return False
    same = (line["trace_id"], line["instance"], line["service"]) == (
        exemplar.labels["trace_id"], exemplar.series["instance"], exemplar.series["job"],
    )  # fmt: skip
    return same and abs(line["duration_ms"] / 1000 - exemplar.value) < 0.001
