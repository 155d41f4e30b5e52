"""Headers -> identity: which trace a request belongs to, and what its client calls it."""

import random
import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

# A client's id is used only if all of it is made of these; it then fits a line, a header, an exemplar and a URL.
_ID_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
_LONGEST_ID = 64

# https://www.w3.org/TR/trace-context/#traceparent-header: version 00 has exactly four parts, later ones may have more,
# and there is no version ff; ids of zeros are invalid.
_IDS = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(rb"00%b|(?!00|ff)[0-9a-f]{2}%b(?:-.*)?" % (_IDS, _IDS)).fullmatch
# For other vendors to read, so it is passed on as it is, up to the length that W3C asks for.
_TRACESTATE = re.compile(rb"[\x20-\x7e]{1,512}").fullmatch

# A generator of our own: `random.seed(1)` somewhere in an application must not make two replicas share their ids.
_random = random.Random()  # noqa: S311 - an id must be unique, not secret

Headers = Sequence[tuple[bytes, bytes]]


class Identity(NamedTuple):
    """Who a request is: its trace, its own span in that trace, and the id that its client gave it.

    `trace_flags` and `tracestate` are what the client's headers said for the services further on.
    """

    trace_id: str
    span_id: str
    request_id: str | None = None
    trace_flags: str = "01"
    tracestate: str | None = None


def new_trace_id() -> str:
    """Return a UUIDv7 in 32 hex digits, so that an id alone tells when to look (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    tail = 0b10 << 62 | _random.getrandbits(62)
    return f"{milliseconds:012x}7{_random.getrandbits(12):03x}{tail:016x}"


def new_span_id() -> str:
    """Return 16 hex digits, never all zero."""
    return f"{_random.getrandbits(64) or 1:016x}"


def identify_anew(_: Headers) -> Identity:
    """Return an identity that owes nothing to the client, for the public edge."""
    return Identity(new_trace_id(), new_span_id())


def identify(headers: Headers, rejected: Callable[[str], None]) -> Identity:
    """Read a request's identity from its raw headers, and make up what is missing.

    `rejected` is told why an id was not used, once for each such header; the id's value goes nowhere.
    """
    named = dict(headers)
    if len(named) != len(headers):
        _settle_repeated(named, headers, rejected)
    request_id, trace_id, flags, tracestate = None, None, "01", None
    if (value := named.get(b"x-request-id")) is not None:
        if _is_id(value):
            request_id = trace_id = value.decode("ascii")
        else:
            rejected("request_id_invalid")
    if (value := named.get(b"traceparent")) is not None:
        if _TRACEPARENT(value):
            trace_id, flags = value[3:35].decode("ascii"), value[53:55].decode("ascii")
            tracestate = _tracestate(named.get(b"tracestate"), rejected)
        else:
            rejected("traceparent_invalid")
    return Identity(trace_id or new_trace_id(), new_span_id(), request_id, flags, tracestate)


def _is_id(value: bytes) -> bool:
    # Deleting what is allowed is several times as fast as a regular expression, and nearly all requests pay for it.
    return value[:1].isalnum() and len(value) <= _LONGEST_ID and not value.translate(None, _ID_BYTES)


def _tracestate(value: bytes | None, rejected: Callable[[str], None]) -> str | None:
    if value is None:
        return None
    if _TRACESTATE(value):
        return value.decode("ascii")
    rejected("tracestate_invalid")
    return None


def _settle_repeated(named: dict[bytes, bytes], headers: Headers, rejected: Callable[[str], None]) -> None:
    """Drop ids that came twice: which one is the client's is not for us to guess. Parts of a tracestate are joined."""
    for name, reason in ((b"x-request-id", "request_id_repeated"), (b"traceparent", "traceparent_repeated")):
        if sum(other == name for other, _ in headers) > 1:
            del named[name]
            rejected(reason)
    if b"tracestate" in named:
        named[b"tracestate"] = b",".join(value for name, value in headers if name == b"tracestate")
