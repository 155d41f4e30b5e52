"""Stores of logs, metrics and load runs, behind small protocols so that the commands work with any of them."""

from collections.abc import Sequence
from typing import Protocol

from triage.models import (
    FieldCounts,
    FinishedRequest,
    Interval,
    ProcessEvent,
    Run,
    Scrape,
    SentRequest,
    StoreSummary,
    TraceLines,
    Window,
)


class LogStore(Protocol):
    """Log lines."""

    def summary(self) -> StoreSummary:
        """Return what the store contains, for error messages."""

    def trace(self, any_id: str) -> TraceLines:
        """Return the lines with this trace id or, if there are none, of all traces with this request id."""

    def rates(self, service: str, slow_ms: float) -> Sequence[Interval]:
        """Return the finished requests by second and instance, in order, without empty seconds."""

    def count_fields(self, service: str, window: Window, slow_ms: float, exclude: Sequence[str]) -> FieldCounts:
        """Count the finished requests of a window by field and value; `exclude` are globs of field names."""

    def finished(self, service: str, prefix: str = "") -> Sequence[FinishedRequest]:
        """Return the finished requests whose request id starts with `prefix`, in order."""

    def process_events(self, service: str) -> Sequence[ProcessEvent]:
        """Return the starts and stops of the service's processes, in order."""


class MetricStore(Protocol):
    """Samples of metrics."""

    def scrapes(self, service: str) -> Sequence[Scrape]:
        """Return `http_request_duration_seconds` at each scrape, in order."""


class LoadStore(Protocol):
    """Requests that the load generator sent."""

    def runs(self) -> Sequence[Run]:
        """Return the load runs in order of their start."""

    def sent(self, run: str) -> Sequence[SentRequest]:
        """Return the requests of a run, in order."""
