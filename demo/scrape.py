"""Scrape /metrics as Prometheus would, write the samples to a file, and read their exemplars back."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from demo.errors import DemoError
from demo.processes import Service

_ACCEPT = {"Accept": "application/openmetrics-text; version=1.0.0"}
_BUCKET, _COUNT = "http_request_duration_seconds_bucket", "http_request_duration_seconds_count"
_KEPT = {_BUCKET, _COUNT, "http_request_duration_seconds_sum", "log_records_total"}


class Scraper:
    """Append the samples of several services to a file."""

    def __init__(self, path: Path, services: Sequence[Service]) -> None:
        """Write to `path`."""
        self._path = path
        self._services = services
        #: How many requests the first service had finished at its last scrape.
        self.finished = 0

    def scrape(self) -> None:
        """Scrape all services; raise `DemoError` if one does not answer."""
        for service in self._services:
            try:
                self._scrape(service)
            except httpx2.HTTPError as exc:
                service.process.require_running()
                reason = type(exc).__name__
                msg = f"The metrics of {service.process.name} cannot be read ({reason}); {service.process.last_line()}"
                raise DemoError(msg) from exc

    def scrape_available(self) -> None:
        """Scrape the services that answer in time; one that is late leaves a gap, as it would in Prometheus."""
        for service in self._services:
            with suppress(httpx2.HTTPError):
                self._scrape(service)
            service.process.require_running()

    def _scrape(self, service: Service) -> None:
        timestamp = datetime.now(UTC)
        page = service.http.get("/metrics", headers=_ACCEPT).raise_for_status().text
        samples = [
            sample
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name in _KEPT
        ]
        if service is self._services[0]:
            self.finished = int(sum(sample.value for sample in samples if sample.name == _COUNT))
        common = {
            "timestamp": f"{timestamp:%Y-%m-%dT%H:%M:%S.%fZ}",
            "event": "metric.sample",
            "service": service.process.name,
            "instance": f"{service.http.base_url.host}:{service.http.base_url.port}",
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(_to_json(common, sample) for sample in samples)


def _to_json(common: Mapping[str, object], sample: Sample) -> str:
    exemplar = sample.exemplar
    fields = {
        **common,
        "metric": sample.name,
        "labels": {name: value for name, value in sample.labels.items() if name != "le"},
        "le": sample.labels.get("le"),
        "value": sample.value,
        "exemplar": exemplar
        and {**exemplar.labels, "value": exemplar.value, "timestamp": float(exemplar.timestamp or 0)},
    }
    return json.dumps(fields, separators=(",", ":")) + "\n"


class Exemplar(NamedTuple):
    """An exemplar of `http_request_duration_seconds` and the bucket it is in; `value` and bounds are in seconds."""

    service: str
    method: str
    route: str
    status: str
    above: float
    up_to: float
    trace_id: str
    span_id: str
    value: float


def exemplars(samples: Sequence[Mapping[str, Any]]) -> list[Exemplar]:
    """Return every distinct exemplar in the lines of a samples file."""
    buckets = [sample for sample in samples if sample["metric"] == _BUCKET]
    bounds = sorted({float(sample["le"]) for sample in buckets})
    lower_bounds = dict(zip(bounds, [0.0, *bounds], strict=False))
    found = {
        Exemplar(
            service=sample["service"],
            **sample["labels"],
            above=lower_bounds[float(sample["le"])],
            up_to=float(sample["le"]),
            trace_id=exemplar["trace_id"],
            span_id=exemplar["span_id"],
            value=exemplar["value"],
        )
        for sample in buckets
        if (exemplar := sample["exemplar"])
    }
    return sorted(found)
