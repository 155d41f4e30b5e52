"""Lines, counters and what was sent agree, or the difference has a name."""

from typing import NamedTuple

import pytest

from tests.triage.emitting import RUN, T0, Emitting, Line, hexadecimal, sent
from tests.triage.memory import MemoryStore
from triage.reconcile import Reconciliation, reconcile
from triage.stores import StoreError


class Run(NamedTuple):
    """A run of 100 requests at one instance, scraped each second, quiet at both ends."""

    api: Emitting
    sent: list[Line]

    def reconciled(self, **options: str) -> Reconciliation:
        """Hold all its lines against each other."""
        store = MemoryStore([*self.api.lines, *self.sent])
        return reconcile(store, store, store, **options)


def made(number: int = 100, *, kill_after: int | None = None, started: bool = True, lose: int | None = None) -> Run:
    """Return a run, in which the service may be killed after some request, and lose the line of another."""
    api = Emitting()
    if started:
        api.start(T0 - 2)
    api.finish(T0 - 1, 3, route="/warm")
    api.scrape(T0)
    asked = []
    for each in range(number):
        at = T0 + 1.35 + each / 10
        if each % 10 == 0:
            api.scrape(at - 0.04)
        trace_id = hexadecimal((RUN, each), 32)
        asked.append(sent(at - 0.01, each))
        if each == lose:
            continue
        api.finish(at, 10, trace_id=trace_id, request_id=f"{RUN}-0-{each}")
        if each == kill_after:
            asked[-1]["status"] = None
            api.lines.pop()
            api.start(at + 0.06)
    api.scrape(T0 + 5 + number / 10)
    return Run(api, asked)


@pytest.mark.parametrize("started", [True, False])
def test_equal(*, started: bool) -> None:
    """A run that went well is equal on both sides, to the request, whether or not its start is in the lines."""
    found = made(started=started).reconciled()
    assert (True, True) == (found.equal, found.complete)
    assert found.sent is not None
    assert found.counted is not None
    assert [("GET", "/users/{user_id}", "200", 100, 100)] == list(found.sent.rows)
    assert ("/users/{user_id}", "200", 100, 100, 0) in found.counted.rows
    assert () == found.gaps + found.sent.gave_up + found.sent.never_arrived + found.sent.unknown


def difference(run: Run) -> dict[str, tuple[str, ...]]:
    found = run.reconciled()
    assert found.sent is not None
    assert found.equal is (not found.sent.differences)
    return {each.what: each.ids for each in found.sent.differences}


def test_differences_have_their_ids() -> None:
    """A line that is missing, one too many, and one that says something else are named."""
    run = made(lose=7)
    assert {"sent and answered, but not logged": (f"{RUN}-0-7",)} == difference(run)
    run = made()
    del run.sent[5]
    assert {"logged, but never sent": (f"{RUN}-0-5",)} == difference(run)
    run = made()
    run.sent[3]["status"] = 503
    run.sent[4]["route"] = "/orders"
    said = difference(run)
    assert (f"{RUN}-0-3",) == said["answered with 503, logged as 200"]
    assert (f"{RUN}-0-4",) == said["sent as GET /orders, logged as GET /users/{user_id}"]
    run = made()
    run.api.lines.append(dict(run.api.lines[-30]) | {"event": "request.finished", "request_id": f"{RUN}-0-9",
                         "trace_id": "x", "method": "GET", "route": "/users/{user_id}", "status": 200})  # fmt: skip
    assert (f"{RUN}-0-9",) == difference(run)["logged more than once"]


def test_a_client_that_gave_up() -> None:
    """No answer at the client is no mismatch, whatever the service logged; nor is a request that never arrived."""
    run = made(lose=7)
    for number in (7, 20, 21):
        run.sent[number]["status"] = None
    next(line for line in run.api.lines if line.get("request_id") == f"{RUN}-0-20")["status"] = 499
    found = run.reconciled()
    assert found.sent is not None
    assert (f"{RUN}-0-20", f"{RUN}-0-21") == found.sent.gave_up
    assert (f"{RUN}-0-7",) == found.sent.never_arrived
    assert () == found.sent.differences


def test_a_line_that_was_counted_and_not_written() -> None:
    """The counters give it away, with the second and, if an exemplar tells it, the id."""
    run = made()
    lost = next(line for line in run.api.lines if line.get("request_id") == f"{RUN}-0-59")
    run.api.lines.remove(lost)
    found = run.reconciled()
    assert found.counted is not None
    (miscount,) = found.counted.differences
    assert (100, 99) == (miscount.row.counted, miscount.row.logged)
    assert (lost["trace_id"],) == miscount.ids
    assert miscount.start <= T0 + 7.25 <= miscount.end


def test_a_line_that_was_not_counted() -> None:
    """A line too many is named, among those of its second."""
    run = made()
    stray = run.api.finish(T0 + 5.75, 10, observed=False)
    found = run.reconciled()
    assert found.counted is not None
    (miscount,) = found.counted.differences
    assert stray["trace_id"] in miscount.ids
    assert len(miscount.ids) < 20


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("samples", [True, False])
def test_a_process_that_was_killed(*, samples: bool, started: bool) -> None:
    """What went with it is unknown, between its last line and the next start; everything else is equal all the same.

    So it is where its own start is not among the lines, because it was long before the run.
    """
    run = made(kill_after=55, started=started)
    if not samples:
        run.api.lines[:] = [line for line in run.api.lines if line.get("event") != "metric.sample"]
    found = run.reconciled()
    assert found.equal
    assert found.sent is not None
    assert (f"{RUN}-0-55",) == found.sent.unknown
    (gap,) = found.gaps
    assert T0 + 6.5 < gap.start < gap.end < T0 + 7
    if samples:
        assert found.counted is not None
        assert 94 == found.counted.rows[0].counted
        assert 1 <= found.counted.uncounted <= 10  # from the last scrape to the end


def test_a_restart_in_good_order_is_no_gap() -> None:
    """A process that said that it stopped takes nothing with it."""
    run = made()
    run.api.finish(T0 + 59.9, 5, request_id="last")
    run.api.stop(T0 + 60)
    run.api.start(T0 + 61)
    run.api.finish(T0 + 62, 5, request_id="other")
    run.api.scrape(T0 + 63)
    found = run.reconciled()
    assert () == found.gaps
    assert found.equal
    assert found.counted is not None
    # Nobody scraped the last one, nor is it unsure: the last line of the process has the totals.
    assert ("/users/{user_id}", "200", 102, 102, 0) in found.counted.rows
    assert 0 == found.counted.uncounted


def test_which_run() -> None:
    """The last run, unless one is named; a run whose name begins like another's is another."""
    run = made()
    run.sent.extend([sent(T0 - 100, 1, run="earlier"), sent(T0 - 90, 1, run=f"{RUN}b")])
    run.api.finish(T0 - 90, 5, request_id=f"{RUN}b-0-1")
    found = run.reconciled()
    assert found.run is not None
    assert (RUN, 2) == (found.run.name, found.others)
    assert found.sent is not None
    assert () == found.sent.differences
    assert not run.reconciled(run="earlier").equal
    with pytest.raises(StoreError, match="nowhere"):
        run.reconciled(run="nowhere")


def test_what_could_not_be_asked() -> None:
    """A half without its lines is not equal by being empty."""
    run = made()
    assert not Run(run.api, []).reconciled().complete
    run.api.lines[:] = [line for line in run.api.lines if line.get("event") != "metric.sample"]
    assert not run.reconciled().complete
