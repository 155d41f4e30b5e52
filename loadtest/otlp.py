"""Metrics of the load, pushed to Prometheus by OTLP: a run is often over before it would be scraped."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from app.observability import BUCKETS
from loadtest.record import route_of
from triage.urls import hide_credentials

_PERIOD = 5_000  # milliseconds
_TIMEOUT = 2  # seconds


class _Once(logging.Filter):
    """Replaces all records of a logger by one message, which is logged once."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self._message = message
        self._logged = False

    def filter(self, record: logging.LogRecord) -> bool:
        logged, self._logged = self._logged, True
        record.msg, record.args, record.exc_info = self._message, (), None
        return not logged


class LoadMetrics:
    """The metrics of one process."""

    def __init__(self, url: str, instance: str, gauges: Mapping[str, Callable[[], float]]) -> None:
        """Push request durations and the values of `gauges` to Prometheus at `url`."""
        self._closed = False
        session = requests.Session()
        session.trust_env = False  # no proxies: Prometheus is in the same network
        address = f"{url.rstrip('/')}/api/v1/otlp/v1/metrics"
        exporter = OTLPMetricExporter(address, timeout=_TIMEOUT, session=session)
        message = f"The metrics of the load are lost: Prometheus at {hide_credentials(url)} does not accept them"
        logging.getLogger(OTLPMetricExporter.__module__).addFilter(_Once(message))
        self._provider = MeterProvider(
            [PeriodicExportingMetricReader(exporter, _PERIOD)],
            Resource({"service.name": "loadtest", "service.instance.id": instance}),
            shutdown_on_exit=False,
        )
        meter = self._provider.get_meter("loadtest")
        self._durations = meter.create_histogram(
            "load_request_duration_seconds", explicit_bucket_boundaries_advisory=list(BUCKETS)
        )
        for name, value in gauges.items():
            meter.create_observable_gauge(name, [self._callback(value)])

    def _callback(self, value: Callable[[], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(0 if self._closed else value())]

    def on_request(
        self,
        *,
        request_type: str,
        name: str,
        response_time: float,
        context: Mapping[str, Any],
        response: Any,  # noqa: ANN401 - depends on the user's client
        **_: object,
    ) -> None:
        """Observe a finished request of an `ApiUser`."""
        if "request_id" in context:
            status = str(getattr(response, "status_code", None) or "none")
            labels = {"method": request_type, "route": route_of(name), "status": status}
            self._durations.record((response_time + context["late_ms"]) / 1000, labels)

    def close(self, **_: object) -> None:
        """Push for the last time, with all gauges at 0."""
        self._closed = True
        self._provider.shutdown(timeout_millis=_TIMEOUT * 1000)
