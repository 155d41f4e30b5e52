"""What Prometheus is asked, and how it answers: samples over time, and exemplars."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from triage.model import Exemplar, Window
from triage.stores._http import Server

BUCKETS = "http_request_duration_seconds_bucket"


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Named(NamedTuple):
    """An exemplar, and the labels of the series that has it."""

    exemplar: Exemplar
    labels: Mapping[str, str]


class Samples(NamedTuple):
    """A series: its labels, and its values by time."""

    labels: Mapping[str, str]
    values: Mapping[float, float]


def now(server: Server, expr: str) -> Sequence[tuple[Mapping[str, str], float]]:
    """Return what an expression is now, by labels."""
    answer = server.json("/api/v1/query", query=expr)
    with server.understood():
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]


def over(server: Server, expr: str, window: Window, step: float) -> Sequence[Samples]:
    """Return what an expression was, every `step` seconds."""
    answer = server.json("/api/v1/query_range", query=expr, start=window.start, end=window.end, step=step)
    with server.understood():
        return [Samples(each["metric"], _values(each["values"])) for each in answer["data"]["result"]]


def samples(server: Server, selector: str, window: Window) -> Sequence[Samples]:
    """Return the samples of a window as they were scraped; the window's start does not belong to it."""
    length = max(1, round((window.end - window.start) * 1000))
    answer = server.json("/api/v1/query", query=f"{selector}[{length}ms]", time=window.end)
    with server.understood():
        return [Samples(each["metric"], _values(each["values"])) for each in answer["data"]["result"]]


def exemplars(server: Server, service: str, window: Window) -> Sequence[Named]:
    """Return the requests of a service that Prometheus can name, the earliest first."""
    selector = f"{BUCKETS}{{job={quoted(service)}}}"
    answer = server.json("/api/v1/query_exemplars", query=selector, start=window.start, end=window.end)
    with server.understood():
        found = [
            Named(exemplar, series["seriesLabels"])
            for series in answer["data"]
            for each in series["exemplars"]
            if (exemplar := _exemplar(each)) is not None
        ]
        return sorted(found, key=lambda each: each.exemplar.at)


def _values(pairs: Iterable[tuple[float, str]]) -> Mapping[float, float]:
    return {float(at): float(value) for at, value in pairs}


def _exemplar(each: Mapping[str, Any]) -> Exemplar | None:
    labels, value, at = each["labels"], float(each["value"]), float(each["timestamp"])
    if not (isfinite(value) and isfinite(at)):
        return None
    return Exemplar(str(labels.get("trace_id", "")), str(labels.get("span_id", "")), value, at)


def quoted(text: str) -> str:
    """Return a string of PromQL and LogQL, whatever `text` is."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"{}"'.format(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", escaped))


def targets(server: Server, service: str) -> Sequence[tuple[str, str]]:
    """Return the health of each target of a service ("up", "down" or "unknown"), and its last error."""
    answer = server.json("/api/v1/targets", state="active")
    with server.understood():
        found = [each for each in answer["data"]["activeTargets"] if each["labels"].get("job") == service]
        return [(str(each["health"]), str(each["lastError"])) for each in found]


def keeps_exemplars(server: Server) -> bool:
    """Say whether it was started with the storage of exemplars; without, it answers as if there were none."""
    flags = server.json("/api/v1/status/flags")
    with server.understood():
        return "exemplar-storage" in flags["data"]["enable-feature"]
