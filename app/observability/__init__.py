"""Log lines with a trace id and a histogram with exemplars, for any ASGI service.

Copy this folder; it needs `orjson` and `prometheus-client`, and no framework.
"""

from ._context import NO_REQUEST, RequestContext, annotate, current_request, record_failure, record_time, timed
from ._event import RequestFailed, RequestFinished, Sink, WebSocketClosed
from ._identity import Identity, new_span_id, new_trace_id
from ._metrics import BUCKETS, metrics_page
from ._middleware import ObservedApp
from ._observability import Observability
from ._propagation import outgoing_headers
from ._routes import UNMATCHED, openapi_routes, route_template
from ._setup import configure_logging

__all__ = [
    "BUCKETS",
    "NO_REQUEST",
    "UNMATCHED",
    "Identity",
    "Observability",
    "ObservedApp",
    "RequestContext",
    "RequestFailed",
    "RequestFinished",
    "Sink",
    "WebSocketClosed",
    "annotate",
    "configure_logging",
    "current_request",
    "metrics_page",
    "new_span_id",
    "new_trace_id",
    "openapi_routes",
    "outgoing_headers",
    "record_failure",
    "record_time",
    "route_template",
    "timed",
]
