"""Timestamps: RFC 3339 in log lines, seconds since 1970 in the code."""

from datetime import UTC, datetime
from math import isfinite

_LATEST = 253_402_300_799.0  # the last second of the year 9999


def rfc3339(seconds: float) -> str:
    """Return a time with microseconds, as in a log line; times out of range become the first or last valid one."""
    if not isfinite(seconds):
        seconds = _LATEST if seconds > 0 else 0.0
    time = datetime.fromtimestamp(round(min(max(seconds, 0.0), _LATEST), 6), UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"


def clock(seconds: float) -> str:
    """Return the time of day with milliseconds."""
    return rfc3339(seconds)[11:23]


def parse(text: str) -> float:
    """Return the seconds since 1970 of an RFC 3339 time or of a number; a time without a zone is UTC.

    Raise `ValueError` or `OverflowError` if it is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        time = datetime.fromisoformat(text)
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds <= _LATEST:
        raise ValueError(text)
    return seconds
