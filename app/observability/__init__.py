"""Log lines with a trace id, and a request-duration histogram with exemplars, for any ASGI service.

Copy this folder. It needs `python-json-logger`, `orjson` and `prometheus-client`, and no web framework.
"""

from .context import NO_TRACE, TraceContext, annotate, current_trace, record_exception, record_time, timer
from .formatter import JsonFormatter
from .logconfig import add_ids_to_records, configure_logging, logging_config
from .metrics import BUCKETS, metrics_page
from .middleware import ObservabilityMiddleware
from .propagation import continue_trace, extract, inject, new_span_id, new_trace_id
from .routing import UNMATCHED, route_template

__all__ = [
    "BUCKETS",
    "NO_TRACE",
    "UNMATCHED",
    "JsonFormatter",
    "ObservabilityMiddleware",
    "TraceContext",
    "add_ids_to_records",
    "annotate",
    "configure_logging",
    "continue_trace",
    "current_trace",
    "extract",
    "inject",
    "logging_config",
    "metrics_page",
    "new_span_id",
    "new_trace_id",
    "record_exception",
    "record_time",
    "route_template",
    "timer",
]
