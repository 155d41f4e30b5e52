"""Samples and exemplars in Prometheus, and the text format in which services expose them."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple

from triage.models import Exemplar, Histogram, Scrape, Series, Window
from triage.stores.client import HttpClient

BUCKETS = "http_request_duration_seconds_bucket"

_SLICE = 300  # seconds of samples per query
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*?)\})? (\S+)(?: # \{(.*)\} (\S+) (\S+))?\s*$", re.ASCII | re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class LabelledExemplar(NamedTuple):
    """An exemplar and the labels of its series."""

    exemplar: Exemplar
    labels: Mapping[str, str]


class Samples(NamedTuple):
    """The labels of a series and its values by time."""

    labels: Mapping[str, str]
    values: Mapping[float, float]


Scraped = dict[tuple[float, str], dict[Series, Histogram]]


class PrometheusStore:
    """The samples of a window in Prometheus."""

    def __init__(self, client: HttpClient, window: Window) -> None:
        """Query `client`."""
        self._client, self._window = client, window

    def scrapes(self, service: str) -> Sequence[Scrape]:
        """Return `http_request_duration_seconds` at each scrape, in order.

        A successful scrape before the first request is included, with no series.
        """
        scraped: Scraped = {}
        job = f"{{job={quote(service)}}}"
        with self._client.parsing():
            for samples in self._slices(f"up{job}"):
                instance = samples.labels["instance"]
                scraped.update({(at, instance): {} for at, value in samples.values.items() if value == 1})
            for samples in self._slices(f"{BUCKETS}{job}"):
                _add_samples(scraped, samples)
            _add_exemplars(scraped, query_exemplars(self._client, service, self._window))
        return [Scrape(at, instance, scraped[at, instance]) for at, instance in sorted(scraped)]

    def _slices(self, selector: str) -> Iterator[Samples]:
        start, end = self._window
        offsets = range(0, max(1, round(end - start)), _SLICE)
        windows = (Window(start + offset, min(start + offset + _SLICE, end)) for offset in offsets)
        return chain.from_iterable(query_samples(self._client, selector, window) for window in windows)


def _add_samples(scraped: Scraped, samples: Samples) -> None:
    """Add the samples of one bucket; series that differ only in other labels are summed."""
    bound, series, instance = float(samples.labels["le"]), _series(samples.labels), samples.labels["instance"]
    for at, value in samples.values.items():
        if isfinite(value):
            buckets = scraped.setdefault((at, instance), {}).setdefault(series, Histogram({}, {})).buckets
            buckets[bound] = buckets.get(bound, 0.0) + value  # type: ignore[index]


def _add_exemplars(scraped: Scraped, exemplars: Sequence[LabelledExemplar]) -> None:
    """Add each exemplar to the first scrape after it, because Prometheus does not store which scrape brought it.

    A scrape brings one exemplar per bucket. If there is already one, the request finished during that scrape, and its
    exemplar came with the next.
    """
    times: dict[str, list[float]] = defaultdict(list)
    for at, instance in sorted(scraped):
        times[instance].append(at)
    for exemplar, labels in exemplars:
        instance, bound = labels["instance"], float(labels["le"])
        of_instance = times[instance]
        for at in of_instance[bisect_left(of_instance, exemplar.at) :]:
            histogram = scraped[at, instance].get(_series(labels))
            if histogram is not None and bound not in histogram.exemplars:
                histogram.exemplars[bound] = exemplar  # type: ignore[index]
                break


def _series(labels: Mapping[str, str]) -> Series:
    return Series(labels.get("method", ""), labels.get("route", ""), labels.get("status", ""))


def quote(text: str) -> str:
    """Return `text` as a string literal of PromQL or LogQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"{}"'.format(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", escaped))


def query(client: HttpClient, expr: str) -> Sequence[tuple[Mapping[str, str], float]]:
    """Return the current labels and values of an expression."""
    response = client.json("/api/v1/query", query=expr)
    with client.parsing():
        return [(each["metric"], float(each["value"][1])) for each in response["data"]["result"]]


def query_range(client: HttpClient, expr: str, window: Window, step: float) -> Sequence[Samples]:
    """Return the values of an expression every `step` seconds."""
    response = client.json("/api/v1/query_range", query=expr, start=window.start, end=window.end, step=step)
    with client.parsing():
        return [Samples(each["metric"], _values(each["values"])) for each in response["data"]["result"]]


def query_samples(client: HttpClient, selector: str, window: Window) -> Sequence[Samples]:
    """Return the samples of a window as they were scraped, without those at its exact start."""
    length = max(1, round((window.end - window.start) * 1000))
    response = client.json("/api/v1/query", query=f"{selector}[{length}ms]", time=window.end)
    with client.parsing():
        return [Samples(each["metric"], _values(each["values"])) for each in response["data"]["result"]]


def query_exemplars(client: HttpClient, service: str, window: Window) -> Sequence[LabelledExemplar]:
    """Return the exemplars of a service's requests, the earliest first."""
    selector = f"{BUCKETS}{{job={quote(service)}}}"
    response = client.json("/api/v1/query_exemplars", query=selector, start=window.start, end=window.end)
    with client.parsing():
        found = [
            LabelledExemplar(exemplar, series["seriesLabels"])
            for series in response["data"]
            for each in series["exemplars"]
            if (exemplar := _exemplar(each)) is not None
        ]
        return sorted(found, key=lambda each: each.exemplar.at)


def query_targets(client: HttpClient, service: str) -> Sequence[tuple[str, str]]:
    """Return the health ("up", "down" or "unknown") and the last error of each target of a service."""
    response = client.json("/api/v1/targets", state="active")
    with client.parsing():
        found = [each for each in response["data"]["activeTargets"] if each["labels"].get("job") == service]
        return [(str(each["health"]), str(each["lastError"])) for each in found]


def stores_exemplars(client: HttpClient) -> bool:
    """Return whether the exemplar storage is enabled; without it, Prometheus responds as if there were none."""
    flags = client.json("/api/v1/status/flags")
    with client.parsing():
        return "exemplar-storage" in flags["data"]["enable-feature"]


def _values(pairs: Iterable[tuple[float, str]]) -> Mapping[float, float]:
    return {float(at): float(value) for at, value in pairs}


def _exemplar(each: Mapping[str, Any]) -> Exemplar | None:
    labels, value, at = each["labels"], float(each["value"]), float(each["timestamp"])
    if not (isfinite(value) and isfinite(at)):
        return None
    return Exemplar(str(labels.get("trace_id", "")), str(labels.get("span_id", "")), value, at)


def sum_samples(page: str, name: str, label: str = "") -> float:
    """Return the sum of a metric on a /metrics page over all samples whose labels contain the text `label`."""
    samples = _SAMPLE.findall(page)
    return sum(_number(value) for sample, labels, value, *_ in samples if sample == name and label in labels)


def newest_exemplar(page: str, name: str) -> Exemplar | None:
    """Return the newest exemplar of a metric on a /metrics page in the OpenMetrics format."""
    found = []
    for sample, _, _, labels, value, at in _SAMPLE.findall(page):
        if sample == name and labels:
            ids = dict(_LABEL.findall(labels))
            found.append(Exemplar(ids.get("trace_id", ""), ids.get("span_id", ""), _number(value), _number(at)))
    return max(found, key=lambda each: each.at, default=None)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
