"""OpenTelemetry's FastAPI instrumentation and Prometheus exporter with minimal settings, and python-json-logger."""

import logging
import os
from typing import TextIO

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.propagators import TraceResponsePropagator, set_global_response_propagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import DropAggregation, ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_trace_id, get_current_span
from prometheus_client import REGISTRY
from starlette.types import ASGIApp

from app.observability import BUCKETS
from bench.application import METRICS, add_metrics_endpoint, api
from bench.lines import LoggedApp, configure_json


def build(stream: TextIO, *, served: bool) -> ASGIApp:
    """Build the application without ASGI send and receive spans, size histograms or a span exporter."""
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"  # only the stable metric names, not the old ones, too
    application = api()
    add_metrics_endpoint(application, REGISTRY)
    if not served:
        application.add_middleware(LoggedApp)
    views = [
        View(instrument_name="http.server.*.body.size", aggregation=DropAggregation()),
        View(instrument_name="http.server.request.duration", aggregation=ExplicitBucketHistogramAggregation(BUCKETS)),
    ]
    FastAPIInstrumentor.instrument_app(
        application,
        tracer_provider=TracerProvider(),
        meter_provider=MeterProvider([PrometheusMetricReader()], views=views),
        excluded_urls=f"{METRICS}$",
        exclude_spans=["receive", "send"],
    )
    set_global_response_propagator(TraceResponsePropagator())
    configure_json(stream, "trace_id", _TraceIdFilter())
    return application


class _TraceIdFilter(logging.Filter):
    """Cheaper than opentelemetry-instrumentation-logging, which adds four fields to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.trace_id = format_trace_id(get_current_span().get_span_context().trace_id)
        return True
