"""What crosses the seams between the stores, the questions and the terminal. Times are seconds since 1970."""

from collections.abc import Mapping
from typing import NamedTuple


class Window(NamedTuple):
    """A stretch of time; both ends belong to it."""

    start: float
    end: float


class Searched(NamedTuple):
    """What a store holds: where, how many lines, how many of these are none of ours, whose, and from when."""

    where: str
    lines: int
    unreadable: int
    services: tuple[str, ...]
    span: Window | None


class Line(NamedTuple):
    """A line as it was written, and when."""

    at: float
    fields: Mapping[str, object]


class Traced(NamedTuple):
    """The lines of one id in order; `left_out` more would have been too many."""

    trace_ids: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: int = 0


class Interval(NamedTuple):
    """How many requests of one instance were finished within a stretch of time, and how many of them were slow.

    `arrived` is when the first of the slow ones came, if that is known.
    """

    start: float
    end: float
    instance: str
    requests: float
    slow: float
    arrived: float | None = None


class Exemplar(NamedTuple):
    """The one request that a bucket names; `value` in seconds, `at` its end."""

    trace_id: str
    span_id: str
    value: float
    at: float

    @property
    def arrived(self) -> float:
        """When the request came."""
        return self.at - self.value


class Series(NamedTuple):
    """The labels of a series of `http_request_duration_seconds`."""

    method: str
    route: str
    status: str


class Histogram(NamedTuple):
    """What one series said at one scrape: counts up to each bound, infinity included, and exemplars by bound."""

    buckets: Mapping[float, float]
    exemplars: Mapping[float, Exemplar] = {}

    @property
    def observed(self) -> float:
        """How many requests were observed."""
        return max(self.buckets.values(), default=0.0)


class Scrape(NamedTuple):
    """What one instance said of all its requests since its start."""

    at: float
    instance: str
    series: Mapping[Series, Histogram]


class Finished(NamedTuple):
    """A line `request.finished`, in short."""

    at: float
    instance: str
    trace_id: str
    request_id: str
    method: str
    route: str
    status: str


class Sent(NamedTuple):
    """A request as the load saw it; `status` is None where no response came."""

    at: float
    request_id: str
    trace_id: str
    method: str
    route: str
    status: str | None
    client_ms: float


class Run(NamedTuple):
    """A run of the load, when it sent its first request, and how many."""

    name: str
    began: float
    requests: int


class Life(NamedTuple):
    """A process began or ended; `before` is when a request at this instance wrote its last line until then.

    `totals` is what one that ended had counted, by route and status, if it says so.
    """

    at: float
    instance: str
    event: str
    before: float | None
    totals: Mapping[tuple[str, str], int] | None = None
