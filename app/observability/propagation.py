"""Trace context in HTTP headers: read it, create it, pass it on.

https://www.w3.org/TR/trace-context/
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .context import NO_REQUEST, RequestContext, TraceContext, current

Headers = Iterable[tuple[bytes, bytes]]

# An id that fits in a log line, a header, an exemplar and a URL without escapes.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
# Version 00 has four parts, later versions may have more. Version ff and ids of zeros are invalid.
_IDS = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(rb"00%b|(?!00|ff)[0-9a-f]{2}%b(?:-.*)?" % (_IDS, _IDS)).fullmatch
_TRACESTATE = re.compile(rb"[\x20-\x7e]{1,512}").fullmatch
_W3C_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}").fullmatch


def new_trace_id() -> str:
    """Return a UUIDv7 in 32 hex digits: the first 12 are the time in milliseconds (RFC 9562, section 5.7).

    From `os.urandom`, so that processes differ also after a fork and after `random.seed()`.
    """
    random = int.from_bytes(os.urandom(10))
    high, low = random >> 68, random & (1 << 62) - 1
    return f"{time.time_ns() // 1_000_000:012x}7{high:03x}{0b10 << 62 | low:016x}"


def new_span_id() -> str:
    """Return 16 hex digits, never all zero."""
    return f"{int.from_bytes(os.urandom(8)) or 1:016x}"


def extract(
    headers: Headers,
    request_id_header: str = "x-request-id",
    on_rejected: Callable[[str], None] = lambda _: None,
) -> TraceContext:
    """Read the trace context from raw ASGI headers, and create the ids that are missing.

    The trace id is that of an active OpenTelemetry span, else of `traceparent`, else the request id, else new.
    Args:
        headers: names in lower case, as in an ASGI scope.
        request_id_header: the header with the client's own id, in lower case.
        on_rejected: called with the reason for each invalid header; the value itself is never logged.
    """
    found = dict(headers)
    request_id = trace_id = tracestate = None
    flags, remote = "01", False
    if (value := found.get(request_id_header.encode())) is not None:
        if _REQUEST_ID(value):
            request_id = trace_id = value.decode()
        else:
            on_rejected("request_id_invalid")
    if (value := found.get(b"traceparent")) is not None:
        if _TRACEPARENT(value):
            trace_id, flags, remote = value[3:35].decode(), value[53:55].decode(), True
            if (state := found.get(b"tracestate")) is not None:
                if _TRACESTATE(state):
                    tracestate = state.decode()
                else:
                    on_rejected("tracestate_invalid")
        else:
            on_rejected("traceparent_invalid")
    if (span := _active_span()) is not None:
        trace_id, flags, remote = f"{span.trace_id:032x}", f"{span.trace_flags:02x}", False
        tracestate = span.trace_state.to_header() or None
    return TraceContext(
        trace_id or new_trace_id(), new_span_id(), request_id, request_id_header, flags, tracestate, remote
    )


def _active_span() -> Any:  # noqa: ANN401 - OpenTelemetry's SpanContext; it is not a dependency
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    return span if span.is_valid else None


def active_trace() -> TraceContext:
    """Return the ids of the current request; outside of requests, those of an active OpenTelemetry span."""
    context = current.get()
    if context is NO_REQUEST and (span := _active_span()) is not None:
        return TraceContext(f"{span.trace_id:032x}", f"{span.span_id:016x}")
    return context.trace


def traceparent(trace: TraceContext) -> str | None:
    """Return the W3C header; `None` if the trace id is a client's request id that is not 32 hex digits."""
    if _W3C_TRACE_ID(trace.trace_id):
        return f"00-{trace.trace_id}-{trace.span_id}-{trace.trace_flags}"
    return None


def inject() -> dict[str, str]:
    """Return the headers for an outgoing call, a message or a job; no headers outside of a request."""
    if current.get() is NO_REQUEST:
        return {}
    trace = current.get().trace
    headers = {trace.request_id_header: trace.request_id or trace.trace_id}
    if (parent := traceparent(trace)) is not None:
        headers["traceparent"] = parent
        if trace.tracestate is not None:
            headers["tracestate"] = trace.tracestate
    return headers


@contextmanager
def continue_trace(headers: Mapping[str, object], request_id_header: str = "x-request-id") -> Iterator[TraceContext]:
    """Run a block with the trace id of `headers`, which `inject()` has returned; if they have none, with a new one.

    For workers that take a job from a queue. The block gets a new span id. Items that are not text are ignored.
    """
    raw = [
        (name.lower().encode(errors="replace"), value if isinstance(value, bytes) else value.encode(errors="replace"))
        for name, value in headers.items()
        if isinstance(value, str | bytes)
    ]
    context = RequestContext(extract(raw, request_id_header.lower()))
    token = current.set(context)
    try:
        yield context.trace
    finally:
        context.closed = True
        current.reset(token)
