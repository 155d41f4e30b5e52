"""What Prometheus would do: read the metrics of all services, with their exemplars, and keep them."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx2
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from demo.children import DemoError
from demo.services import Service
from triage.timestamps import rfc3339

_ACCEPT = {"Accept": "application/openmetrics-text; version=1.0.0"}
_COUNT = "http_request_duration_seconds_count"
_KEPT = {"http_request_duration_seconds_bucket", _COUNT, "http_request_duration_seconds_sum", "log_records_total"}


class Scraper:
    """Reads /metrics of services, and appends what it read to a file."""

    def __init__(self, path: Path, services: Sequence[Service]) -> None:
        """Write the samples of `services` to `path`."""
        self._path = path
        self._services = services
        #: How many requests the first service has finished, at its last scrape.
        self.finished = 0

    def scrape(self) -> None:
        """Read them once; `DemoError` if one of them does not answer, `OSError` if nothing can be written."""
        for service in self._services:
            try:
                self._scrape(service)
            except httpx2.HTTPError as exc:
                service.child.check()
                msg = f"{service.child.name} shows no metrics ({type(exc).__name__}); {service.child.last_words()}"
                raise DemoError(msg) from exc

    def scrape_or_miss(self) -> None:
        """Read those that answer; one that is late leaves a hole, as it would in Prometheus, too."""
        for service in self._services:
            with suppress(httpx2.HTTPError):
                self._scrape(service)
            service.child.check()

    def _scrape(self, service: Service) -> None:
        now = time.time()
        page = service.http.get("/metrics", headers=_ACCEPT).raise_for_status().text
        samples = [
            sample
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name in _KEPT
        ]
        if service is self._services[0]:
            self.finished = int(sum(sample.value for sample in samples if sample.name == _COUNT))
        url = service.http.base_url
        about = {"timestamp": rfc3339(now), "event": "metric.sample", "service": service.child.name}
        lines = "".join(_lines({**about, "instance": f"{url.host}:{url.port}"}, samples))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(lines)


def _lines(about: Mapping[str, object], samples: list[Sample]) -> Iterator[str]:
    for sample in samples:
        seen = sample.exemplar
        exemplar = {**seen.labels, "value": seen.value, "timestamp": float(seen.timestamp or 0)} if seen else None
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        says = {
            "metric": sample.name,
            "labels": labels,
            "le": sample.labels.get("le"),
            "value": sample.value,
            "exemplar": exemplar,
        }
        yield json.dumps({**about, **says}, separators=(",", ":")) + "\n"
