"""Data that the stores return. Times are seconds since 1970."""

from collections.abc import Mapping
from typing import NamedTuple


class Window(NamedTuple):
    """A time range, both ends included."""

    start: float
    end: float

    def expand(self, seconds: float) -> "Window":
        """Return the window with a margin on both sides."""
        return Window(self.start - seconds, self.end + seconds)


class StoreSummary(NamedTuple):
    """What a store contains; `unreadable` lines are not log lines of a service."""

    where: str
    lines: int
    unreadable: int
    services: tuple[str, ...]
    span: Window | None


class LogLine(NamedTuple):
    """A log line and its time."""

    at: float
    fields: Mapping[str, object]


class TraceLines(NamedTuple):
    """The lines of one or more traces in order; `left_out` lines were too many to return."""

    trace_ids: tuple[str, ...]
    lines: tuple[LogLine, ...]
    left_out: int = 0


class Interval(NamedTuple):
    """How many requests one instance finished in a time range, and how many of them were slow.

    `arrived` is when the first slow one arrived, if known.
    """

    start: float
    end: float
    instance: str
    requests: float
    slow: float
    arrived: float | None = None


class Exemplar(NamedTuple):
    """The exemplar of a histogram bucket; `value` is the duration in seconds, `at` the end of the request."""

    trace_id: str
    span_id: str
    value: float
    at: float

    @property
    def arrived(self) -> float:
        """When the request arrived."""
        return self.at - self.value


class Series(NamedTuple):
    """The labels of a series of `http_request_duration_seconds`."""

    method: str
    route: str
    status: str


class Histogram(NamedTuple):
    """One series at one scrape: cumulative counts and exemplars by upper bound, infinity included."""

    buckets: Mapping[float, float]
    exemplars: Mapping[float, Exemplar] = {}

    @property
    def total(self) -> float:
        """The number of observations."""
        return max(self.buckets.values(), default=0.0)


class Scrape(NamedTuple):
    """All request histograms of one instance at one time."""

    at: float
    instance: str
    series: Mapping[Series, Histogram]


class FinishedRequest(NamedTuple):
    """A `request.finished` line."""

    at: float
    instance: str
    trace_id: str
    request_id: str
    method: str
    route: str
    status: str


class SentRequest(NamedTuple):
    """A request as the load generator saw it; `status` is None if there was no response."""

    at: float
    request_id: str
    trace_id: str
    method: str
    route: str
    status: str | None
    client_ms: float


class Run(NamedTuple):
    """A load run: when it sent its first request, and how many."""

    name: str
    began: float
    requests: int


class ProcessEvent(NamedTuple):
    """A `service.started` or `service.stopped` line.

    `last_request_at` is the time of the last line of a request at this instance before it. `totals` are the requests
    that a stopped process had counted, by route and status, if the line has them.
    """

    at: float
    instance: str
    event: str
    last_request_at: float | None
    totals: Mapping[tuple[str, str], int] | None = None


class Counts(NamedTuple):
    """Slow and fast requests, each in two halves: one to choose a field's values on, one to measure them on."""

    slow: tuple[int, int] = (0, 0)
    fast: tuple[int, int] = (0, 0)


class FieldValue(NamedTuple):
    """One value of a field, as JSON (None if the field is absent), and the requests that have it."""

    json: str | None
    counts: Counts


class Field(NamedTuple):
    """The values of one field: how many distinct ones, which requests have the field, and the values that matter."""

    name: str
    distinct: int
    present: Counts
    values: tuple[FieldValue, ...]


class FieldCounts(NamedTuple):
    """Slow and fast finished requests of a window, counted by field and value.

    `fields` contain only values that at least two requests have, one of them slow. `sums` are the totals of every
    field whose name ends in `_ms`, for slow and for fast requests. `slow_lines` begin with the slowest.
    """

    counts: Counts
    fields: tuple[Field, ...]
    sums: Mapping[str, tuple[float, float]]
    slow_lines: tuple[LogLine, ...]


def parse_totals(value: object) -> Mapping[tuple[str, str], int] | None:
    """Return the `totals` field of a `service.stopped` line; None if it has another form."""
    if not isinstance(value, dict):
        return None
    try:
        return {(route, status): int(count) for route, of in value.items() for status, count in of.items()}
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None
