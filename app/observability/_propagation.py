"""The id travels on: headers for the services that a request calls."""

import re

from ._context import NO_REQUEST, current_request

_HEX_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")


def outgoing_headers() -> dict[str, str]:
    """Return the headers to send with a call, so that the other service logs the same trace id; none outside a request.

    A trace id that a client made up as its `X-Request-ID` is no W3C trace id, and travels as `X-Request-ID` alone.
    """
    context = current_request()
    if context is NO_REQUEST:
        return {}
    trace_id, span_id, request_id, flags = context.identity
    headers = {"x-request-id": request_id or trace_id}
    if _HEX_TRACE_ID.fullmatch(trace_id):
        headers["traceparent"] = f"00-{trace_id}-{span_id}-{flags}"
    return headers
