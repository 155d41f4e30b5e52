"""Headers -> identity: which trace a request belongs to, and what its client calls it."""

import random
import re
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

#: A client's id is used only if all of it looks like this; it then fits a line, a header, an exemplar and a URL.
VALID_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# https://www.w3.org/TR/trace-context/#traceparent-header; ids of zeros are invalid.
_TRACEPARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace_id>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})"
    rb"(?P<more>-.*)?"
)

# A generator of our own: `random.seed(1)` somewhere in an application must not make two replicas share their ids.
_random = random.Random()  # noqa: S311 - an id must be unique, not secret


class Identity(NamedTuple):
    """Who a request is: its trace, its own span in that trace, and the id that its client gave it."""

    trace_id: str
    span_id: str
    request_id: str | None = None
    trace_flags: str = "01"


def new_trace_id() -> str:
    """Return a UUIDv7 in 32 hex digits, so that an id alone tells when to look (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    tail = 0b10 << 62 | _random.getrandbits(62)
    return f"{milliseconds:012x}7{_random.getrandbits(12):03x}{tail:016x}"


def new_span_id() -> str:
    """Return 16 hex digits, never all zero."""
    return f"{_random.getrandbits(64) or 1:016x}"


def identify(headers: Iterable[tuple[bytes, bytes]], rejected: Callable[[str], None]) -> Identity:
    """Read a request's identity from its raw headers, and make up what is missing.

    `rejected` is told why an id was not used, once for each such header; the id's value goes nowhere.
    """
    traceparents: list[bytes] = []
    request_ids: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            traceparents.append(value)
        elif name == b"x-request-id":
            request_ids.append(value)
    request_id = _request_id(request_ids, rejected)
    trace_id, flags = _trace(traceparents, rejected) or (request_id or new_trace_id(), "01")
    return Identity(trace_id, new_span_id(), request_id, flags)


def _request_id(values: list[bytes], rejected: Callable[[str], None]) -> str | None:
    if not values:
        return None
    if len(values) > 1:
        rejected("request_id_repeated")
    elif VALID_ID.fullmatch(values[0]):
        return values[0].decode("ascii")
    else:
        rejected("request_id_invalid")
    return None


def _trace(values: list[bytes], rejected: Callable[[str], None]) -> tuple[str, str] | None:
    if not values:
        return None
    if len(values) > 1:
        rejected("traceparent_repeated")
    elif (match := _TRACEPARENT.fullmatch(values[0])) and _known_form(match):
        return match["trace_id"].decode("ascii"), match["flags"].decode("ascii")
    else:
        rejected("traceparent_invalid")
    return None


def _known_form(traceparent: re.Match[bytes]) -> bool:
    """Version ff is forbidden, and version 00 has exactly four parts; later versions may have more."""
    version = traceparent["version"]
    return version != b"ff" and (version != b"00" or traceparent["more"] is None)
