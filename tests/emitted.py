"""The log lines and metrics of a service under test."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from app.observability import ObservabilityMiddleware, configure_logging, metrics_page
from app.observability.middleware import ASGIApp

Line = dict[str, Any]


def parse(text: str) -> list[Line]:
    """Parse JSON lines; fail if a line is not a JSON object."""

    def reject(constant: str) -> None:
        msg = f"{constant} is not valid JSON"
        raise ValueError(msg)

    lines = [json.loads(line, parse_constant=reject) for line in text.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    return lines


@dataclass
class Emitted:
    """The log stream and the metrics registry of one service under test."""

    stream: io.StringIO
    registry: CollectorRegistry | None = None

    def observe(self, app: ASGIApp, root_path: str = "", **options: Any) -> httpx2.AsyncClient:
        """Instrument `app` and return a client that calls it in this process."""
        transport = httpx2.ASGITransport(self.wrap(app, **options), raise_app_exceptions=False, root_path=root_path)
        return httpx2.AsyncClient(transport=transport, base_url="http://tested")

    def wrap(
        self, app: ASGIApp, safe_exceptions: Sequence[type[BaseException]] | None = None, **options: Any
    ) -> ObservabilityMiddleware:
        """Instrument `app` and return the ASGI application."""
        self.registry = CollectorRegistry()
        configure_logging("tested", "127.0.0.1:1", level="DEBUG", safe_exceptions=safe_exceptions, stream=self.stream)
        return ObservabilityMiddleware(app, registry=self.registry, **options)

    def lines(self, where: Callable[[Line], bool] = lambda _: True) -> list[Line]:
        """Return the lines so far, without those of the HTTP client."""
        return [
            line for line in parse(self.stream.getvalue()) if where(line) and not line["logger"].startswith("httpx2")
        ]

    def finished(self) -> Line:
        """Return the `request.finished` line; fail unless there is exactly one."""
        (line,) = self.lines(lambda line: line.get("event") == "request.finished")
        return line

    def failed(self) -> Line:
        """Return the `request.failed` line; fail unless there is exactly one."""
        (line,) = self.lines(lambda line: line.get("event") == "request.failed")
        return line

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of a sample."""
        assert self.registry is not None
        return self.registry.get_sample_value(name, labels)

    def exemplars(self) -> list[tuple[dict[str, str], dict[str, str], float]]:
        """Return the labels of the bucket, the labels of the exemplar and its value, for every exemplar."""
        assert self.registry is not None
        page, _ = metrics_page("application/openmetrics-text; version=1.0.0", self.registry)
        return [
            (sample.labels, sample.exemplar.labels, sample.exemplar.value)
            for family in text_string_to_metric_families(page.decode())
            for sample in family.samples
            if sample.exemplar
        ]
