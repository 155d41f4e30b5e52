"""Check a load run against the stack: whether its requests agree with logs and counters, and have log lines."""

import sys
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loadtest.verdict import without_lines
from triage.console import print_error
from triage.endpoints import Endpoints
from triage.errors import StoreError, TriageError
from triage.models import Window
from triage.reconcile import Reconciliation, reconcile
from triage.stores import LoadStore
from triage.stores.runs import TimedRequest
from triage.timelimit import pause_limit

_SCRAPE_MARGIN = 15.0  # seconds around a run, in which there are at least two scrapes
_MAX_DELAY = 30.0  # seconds in which lines may still arrive
_PAUSE = 5.0  # seconds between two checks


class StackCheck(NamedTuple):
    """The comparison of requests, lines and counters, and the trace ids of listed requests without lines."""

    reconciliation: Reconciliation
    dead: frozenset[str]


def check_stack(  # noqa: PLR0913, PLR0917 - a run has these parts
    endpoints: Endpoints,
    service: str,
    load: LoadStore,
    run: str,
    window: Window,
    listed: Sequence[TimedRequest],
) -> StackCheck:
    """Check a run after its last scrape, again and again while lines may still arrive.

    Raise `TriageError` if the stack does not respond or has no samples of the service.
    """
    wide = window.expand(_SCRAPE_MARGIN)
    try:
        # Before the wait, so that an error is reported at once.
        endpoints.loki.text("/ready")
        endpoints.prometheus.text("/-/ready")
        _wait(wide.end)
        while True:
            logs, metrics = endpoints.stores(wide)
            found = reconcile(logs, metrics, load, service, run)
            logged = frozenset(line.trace_id for line in logs.finished(service, f"{run}-"))
            dead = _dead_links(listed, logged, found)
            if (found.equal and found.complete and not dead) or time.time() >= wide.end + _MAX_DELAY:
                break
            with pause_limit():
                time.sleep(_PAUSE)
    except StoreError as exc:
        msg = f"{str(exc).rstrip('.')}; use --no-stack to judge the run without the stack"
        raise TriageError(msg) from None
    if not found.complete:
        msg = (
            f"Prometheus has no samples of the service {service!r} during the run: choose another one with --service, "
            "or use --no-stack to judge the run without the stack"
        )
        raise TriageError(msg)
    return StackCheck(found, dead)


def _wait(until: float) -> None:
    seconds = until - time.time()
    if seconds > 0:
        if sys.stderr.isatty():
            print_error(f"Waiting {seconds:.0f} s for the last scrape of the run")
        with pause_limit():
            time.sleep(seconds)


def _dead_links(
    listed: Iterable[TimedRequest], logged: frozenset[str], reconciliation: Reconciliation
) -> frozenset[str]:
    """Return the trace ids of listed requests that should have lines, but do not."""
    excused = without_lines(reconciliation)
    return frozenset(each.sent.trace_id for each in listed if each.sent.request_id not in excused) - logged
