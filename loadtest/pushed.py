"""The load as its clients see it, pushed to Prometheus: nobody could scrape what is gone when a run is over."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from app.observability import BUCKETS

_PERIOD = 5_000  # milliseconds from one push to the next
_TIMEOUT = 2  # seconds


class _Once(logging.Filter):
    """Makes all complaints of a library one sentence, which is said once."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self._sentence = sentence
        self._told = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the first one through."""
        told, self._told = self._told, True
        record.msg, record.args, record.exc_info = self._sentence, (), None
        return not told


class Pushed:
    """The metrics of one process."""

    def __init__(self, instance: str, gauges: Mapping[str, Callable[[], float]], url: str) -> None:
        """Push the values of `gauges`, and what requests took, to Prometheus at `url`."""
        self._over = False
        exporter = OTLPMetricExporter(f"{url.rstrip('/')}/api/v1/otlp/v1/metrics", timeout=_TIMEOUT)
        sentence = f"The metrics of the load are not kept: Prometheus at {url} does not take them"
        logging.getLogger(OTLPMetricExporter.__module__).addFilter(_Once(sentence))
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
            meter.create_observable_gauge(name, [self._watch(value)])

    def _watch(self, value: Callable[[], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(0 if self._over else value())]

    def request(
        self,
        *,
        request_type: str,
        response_time: float,
        context: Mapping[str, Any],
        response: Any,  # noqa: ANN401 - of whatever client the user has
        **_: object,
    ) -> None:
        """Take what Locust tells of a request that is over; one without a route is not of the users here."""
        if "route" in context:
            status = str(getattr(response, "status_code", None) or "none")
            labels = {"method": request_type, "route": context["route"], "status": status}
            self._durations.record(response_time / 1000, labels)

    def close(self, **_: object) -> None:
        """Push for the last time: nobody is there any more."""
        self._over = True
        self._provider.shutdown(timeout_millis=_TIMEOUT * 1000)
