"""Times as lines have them, and seconds since 1970, as everything in here reckons."""

from datetime import UTC, datetime
from math import isfinite

_LATEST = 253_402_300_799.0  # the last second of the year 9999


def rfc3339(seconds: float) -> str:
    """Return a time as in a line, to the microsecond; what no calendar has is its first or last moment."""
    if not isfinite(seconds):
        seconds = _LATEST if seconds > 0 else 0.0
    moment = datetime.fromtimestamp(round(min(max(seconds, 0.0), _LATEST), 6), UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def clock(seconds: float) -> str:
    """Return the time of day, to the millisecond."""
    return rfc3339(seconds)[11:23]


def seconds(text: str) -> float:
    """Return a time that a person typed: seconds since 1970, or RFC 3339, in UTC unless it says otherwise.

    `ValueError` if it is neither.
    """
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= number <= _LATEST:
        raise ValueError(text)
    return number
