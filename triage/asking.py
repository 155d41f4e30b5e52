"""What the stack says of a run: whether lines and counters agree with it, and whether its worst requests have lines."""

import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

from triage.errors import CannotTellError, say
from triage.measured import RunFacts, Timed
from triage.model import Window
from triage.reconcile import Reconciliation, reconcile
from triage.stack import around, stack
from triage.stores import LoadStore, StoreError
from triage.tour.places import Places
from triage.verdict import dead_links

_MORE = 30.0  # seconds in which lines may still be under way
_PAUSE = 5.0  # seconds between two looks


class Asked(NamedTuple):
    """Both equalities, and the trace ids of requests that lead nowhere."""

    reconciliation: Reconciliation
    dead: frozenset[str]

    @property
    def settled(self) -> bool:
        """Whether nothing is missing that may still come."""
        return self.reconciliation.equal and self.reconciliation.complete and not self.dead


class Asking:
    """The servers of a running stack, and the service whose lines and counters they have."""

    def __init__(self, places: Places, service: str) -> None:
        """Ask at `places`; nothing is asked yet."""
        self._at, self._service = places, service

    def ask(self, load: LoadStore, facts: RunFacts, window: Window, shown: Iterable[Timed]) -> Asked:
        """Ask once its last scrape is over, and again while anything differs that may still be under way."""
        shown = tuple(shown)
        about = around(window)
        try:
            self._ready()
            self._wait(about.end)
            while not (asked := self._once(load, facts, about, shown)).settled and time.time() < about.end + _MORE:
                time.sleep(_PAUSE)
        except StoreError as exc:
            msg = f"{str(exc).rstrip('.')}; --no-stack does without"
            raise CannotTellError(msg) from None
        if not asked.reconciliation.complete:
            msg = (
                f"Prometheus has no samples of the service {self._service!r} while the run was made: choose with "
                "--service, or do without the stack with --no-stack"
            )
            raise CannotTellError(msg)
        return asked

    @staticmethod
    def _wait(until: float) -> None:
        """Wait for the last scrape; whoever sits there is told."""
        left = until - time.time()
        if left > 0:
            if sys.stderr.isatty():
                say(f"Waiting {left:.0f} s for the last scrape of the run")
            time.sleep(left)

    def _ready(self) -> None:
        """Complain at once, and not after the wait, if nobody is there."""
        self._at.loki.text("/ready")
        self._at.prometheus.text("/-/ready")

    def _once(self, load: LoadStore, facts: RunFacts, about: Window, shown: Iterable[Timed]) -> Asked:
        logs, metrics = stack(self._at, about)
        found = reconcile(logs, metrics, load, self._service, facts.name)
        logged = frozenset(line.trace_id for line in logs.finished(self._service, f"{facts.name}-"))
        return Asked(found, dead_links(shown, logged, found))
