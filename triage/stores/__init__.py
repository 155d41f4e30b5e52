"""Where lines and samples are read back from: what the questions may ask of a store, whatever it is."""

from collections.abc import Sequence
from typing import Protocol

from triage.measured import Generator, Measured, RunFacts
from triage.model import Finished, Interval, Life, Run, Scrape, Searched, Sent, Traced, Window
from triage.tally import Tally


class StoreError(Exception):
    """A sentence that says what a person has to mend."""


class LogStore(Protocol):
    """Lines. What has to read very many of them is one method, so that a store can do it where they are."""

    def searched(self) -> Searched:
        """Say what there is; for the sentences that say that something was not found."""

    def trace(self, any_id: str) -> Traced:
        """Return the lines with this trace id; if there are none, those of the traces that have this request id."""

    def rates(self, service: str, slow_ms: float) -> Sequence[Interval]:
        """Return the finished requests by second and instance, in order; seconds without any are left out."""

    def tally(self, service: str, window: Window, slow_ms: float, without: Sequence[str]) -> Tally:
        """Count the finished requests of a window by the values of every field, but those that a glob names."""

    def finished(self, service: str, prefix: str = "") -> Sequence[Finished]:
        """Return the finished requests whose request id begins with `prefix`, in order."""

    def lives(self, service: str) -> Sequence[Life]:
        """Return the lines `service.started` and `service.stopped`, in order."""


class MetricStore(Protocol):
    """Samples."""

    def scrapes(self, service: str) -> Sequence[Scrape]:
        """Return what `http_request_duration_seconds` was at each scrape, in order."""


class LoadStore(Protocol):
    """What the load sent."""

    def runs(self) -> Sequence[Run]:
        """Return the runs, in the order in which they began."""

    def sent(self, run: str) -> Sequence[Sent]:
        """Return the requests of a run, in order."""


class RunStore(Protocol):
    """One run of the load, and how it went."""

    def facts(self) -> RunFacts:
        """Return what it was to be; `StoreError` if nobody wrote of its beginning."""

    def generators(self, run: str) -> Sequence[Generator]:
        """Return the processes that made the load, in order."""

    def measured(self, run: str, slowest: int, failed: int) -> Measured:
        """Return what it measured, with so many of its slowest requests, and of the first that failed."""
