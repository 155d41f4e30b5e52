"""The id travels on: headers for the response, and for the services that a request calls."""

import re
from collections.abc import Iterable

from ._context import NO_REQUEST, current_request
from ._identity import Identity

_HEX_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_OURS = frozenset({b"x-trace-id", b"x-request-id"})


def with_ids(headers: Iterable[tuple[bytes, bytes]], identity: Identity) -> list[tuple[bytes, bytes]]:
    """Return a response's headers with the ids in them, each once, whatever the application thought they were."""
    trace_id, _, request_id, _, _ = identity
    out = [(b"x-trace-id", trace_id.encode())]
    if request_id is not None:
        out.append((b"x-request-id", request_id.encode()))
    for header in headers:
        if header[0].lower() not in _OURS:
            out.append(header)  # noqa: PERF401 - before Python 3.12 a comprehension is one more call
    return out


def outgoing_headers() -> dict[str, str]:
    """Return the headers to send with a call, so that the other service logs the same trace id; none outside a request.

    A trace id that a client made up as its `X-Request-ID` is no W3C trace id, and travels as `X-Request-ID` alone.
    """
    context = current_request()
    if context is NO_REQUEST:
        return {}
    trace_id, span_id, request_id, flags, tracestate = context.identity
    headers = {"x-request-id": request_id or trace_id}
    if _HEX_TRACE_ID.fullmatch(trace_id):
        headers["traceparent"] = f"00-{trace_id}-{span_id}-{flags}"
        if tracestate is not None:
            headers["tracestate"] = tracestate
    return headers
