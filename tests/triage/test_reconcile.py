"""Sent requests, log lines and counters agree exactly, or the difference is named."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.triage.conftest import StoreLines
from tests.triage.fake_service import RUN, T0, FakeService, Line, hexadecimal, sent
from triage.errors import StoreError
from triage.reconcile import Reconciliation, reconcile

Reconcile = Callable[..., Reconciliation]


class Run(NamedTuple):
    """A run of 100 requests at one instance, which is scraped every second."""

    api: FakeService
    sent: list[Line]

    @property
    def lines(self) -> list[Line]:
        """All lines and samples."""
        return [*self.api.lines, *self.sent]


@pytest.fixture
def reconciled(store_lines: StoreLines) -> Reconcile:
    """Return a function that reconciles a run."""

    def run_reconcile(run: Run, /, **options: str) -> Reconciliation:
        store = store_lines(run.lines)
        return reconcile(store, store, store, **options)

    return run_reconcile


def make_run(number: int = 100, *, kill_after: int | None = None, started: bool = True, lose: int | None = None) -> Run:
    """Return a run, optionally with a service that is killed after a request, or that loses the line of one."""
    api = FakeService()
    if started:
        api.start(T0 - 2)
    api.finish(T0 - 1, 3, route="/warm")
    api.scrape(T0)
    requests = []
    for each in range(number):
        at = T0 + 1.35 + each / 10
        if each % 10 == 0:
            api.scrape(at - 0.04)
        trace_id = hexadecimal((RUN, each), 32)
        requests.append(sent(at - 0.01, each))
        if each == lose:
            continue
        api.finish(at, 10, trace_id=trace_id, request_id=f"{RUN}-0-{each}")
        if each == kill_after:
            requests[-1]["status"] = None
            api.lines.pop()
            api.start(at + 0.06)
    api.scrape(T0 + 5 + number / 10)
    return Run(api, requests)


@pytest.mark.parametrize("started", [True, False])
def test_equal(reconciled: Reconcile, *, started: bool) -> None:
    """A normal run is equal to the request, whether or not the start of the process is in the lines."""
    found = reconciled(make_run(started=started))
    assert (True, True) == (found.equal, found.complete)
    assert found.sent is not None
    assert found.counted is not None
    assert [("GET", "/users/{user_id}", "200", 100, 100)] == list(found.sent.rows)
    assert ("/users/{user_id}", "200", 100, 100, 0) in found.counted.rows
    assert () == found.gaps + found.sent.gave_up + found.sent.never_arrived + found.sent.unknown


def test_differences_have_ids(reconciled: Reconcile) -> None:
    """Missing lines, additional lines and lines with other values are named with their request ids."""

    def difference(run: Run) -> dict[str, tuple[str, ...]]:
        found = reconciled(run)
        assert found.sent is not None
        assert found.equal is (not found.sent.differences)
        return {each.what: each.ids for each in found.sent.differences}

    run = make_run(lose=7)
    assert {"sent and answered, but not logged": (f"{RUN}-0-7",)} == difference(run)
    run = make_run()
    del run.sent[5]
    assert {"logged, but never sent": (f"{RUN}-0-5",)} == difference(run)
    run = make_run()
    run.sent[3]["status"] = 503
    run.sent[4]["route"] = "/orders"
    differences = difference(run)
    assert (f"{RUN}-0-3",) == differences["answered with 503, logged as 200"]
    assert (f"{RUN}-0-4",) == differences["sent as GET /orders, logged as GET /users/{user_id}"]
    run = make_run()
    run.api.lines.append(dict(run.api.lines[-30]) | {"event": "request.finished", "request_id": f"{RUN}-0-9",
                         "trace_id": "x", "method": "GET", "route": "/users/{user_id}", "status": 200})  # fmt: skip
    assert (f"{RUN}-0-9",) == difference(run)["logged more than once"]


def test_names_that_differ(reconciled: Reconcile) -> None:
    """Lines and metrics with other names for the same instance are one error, instead of a difference per request."""
    run = make_run()
    for line in run.api.lines:
        if line.get("event") != "metric.sample":
            line["instance"] = "-"
    with pytest.raises(StoreError, match=r"\('-'\) than in the metrics \('127.0.0.1:8000'\)"):
        reconciled(run)
    run.api.finish(T0 + 5, 5)
    assert not reconciled(run).equal


def test_requests_without_response(reconciled: Reconcile) -> None:
    """They are not differences, whether the service logged them or they never arrived."""
    run = make_run(lose=7)
    for number in (7, 20, 21):
        run.sent[number]["status"] = None
    next(line for line in run.api.lines if line.get("request_id") == f"{RUN}-0-20")["status"] = 499
    found = reconciled(run)
    assert found.sent is not None
    assert (f"{RUN}-0-20", f"{RUN}-0-21") == found.sent.gave_up
    assert (f"{RUN}-0-7",) == found.sent.never_arrived
    assert () == found.sent.differences


def test_a_request_that_was_counted_but_not_logged(reconciled: Reconcile) -> None:
    """It is found with the time between two scrapes and, from an exemplar, its trace id."""
    run = make_run()
    lost = next(line for line in run.api.lines if line.get("request_id") == f"{RUN}-0-59")
    run.api.lines.remove(lost)
    found = reconciled(run)
    assert found.counted is not None
    (miscount,) = found.counted.differences
    assert (100, 99) == (miscount.row.counted, miscount.row.logged)
    assert (lost["trace_id"],) == miscount.ids
    assert miscount.start <= T0 + 7.25 <= miscount.end


def test_a_request_that_was_logged_but_not_counted(reconciled: Reconcile) -> None:
    """It is among the trace ids between two scrapes."""
    run = make_run()
    stray = run.api.finish(T0 + 5.75, 10, observed=False)
    found = reconciled(run)
    assert found.counted is not None
    (miscount,) = found.counted.differences
    assert stray["trace_id"] in miscount.ids
    assert len(miscount.ids) < 20


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("samples", [True, False])
def test_a_killed_process(reconciled: Reconcile, *, samples: bool, started: bool) -> None:
    """Requests between its last line and the next start are unknown, and all others are equal.

    The start of the killed process may be missing, because it was long before the run.
    """
    run = make_run(kill_after=55, started=started)
    if not samples:
        run.api.lines[:] = [line for line in run.api.lines if line.get("event") != "metric.sample"]
    found = reconciled(run)
    assert found.equal
    assert found.sent is not None
    assert (f"{RUN}-0-55",) == found.sent.unknown
    (gap,) = found.gaps
    assert T0 + 6.5 < gap.start < gap.end < T0 + 7
    if samples:
        assert found.counted is not None
        assert 94 == found.counted.rows[0].counted
        assert 1 <= found.counted.uncounted <= 10  # from the last scrape to the end


def test_a_normal_restart(reconciled: Reconcile) -> None:
    """A process that logged its stop leaves no gap, and its totals complete the counters after the last scrape."""
    run = make_run()
    run.api.finish(T0 + 59.9, 5, request_id="last")
    run.api.stop(T0 + 60)
    run.api.start(T0 + 61)
    run.api.finish(T0 + 62, 5, request_id="other")
    run.api.scrape(T0 + 63)
    found = reconciled(run)
    assert () == found.gaps
    assert found.equal
    assert found.counted is not None
    assert ("/users/{user_id}", "200", 102, 102, 0) in found.counted.rows
    assert 0 == found.counted.uncounted


def test_choice_of_the_run(reconciled: Reconcile) -> None:
    """It is the last run unless one is named; a run is not confused with one whose name starts with its name."""
    run = make_run()
    run.sent.extend([sent(T0 - 100, 1, run="earlier"), sent(T0 - 90, 1, run=f"{RUN}b")])
    run.api.finish(T0 - 90, 5, request_id=f"{RUN}b-0-1")
    found = reconciled(run)
    assert found.run is not None
    assert (RUN, 2) == (found.run.name, found.others)
    assert found.sent is not None
    assert () == found.sent.differences
    assert not reconciled(run, run="earlier").equal
    with pytest.raises(StoreError, match="nowhere"):
        reconciled(run, run="nowhere")


def test_missing_data(reconciled: Reconcile) -> None:
    """A comparison without requests or without samples is incomplete."""
    run = make_run()
    assert not reconciled(Run(run.api, [])).complete
    run.api.lines[:] = [line for line in run.api.lines if line.get("event") != "metric.sample"]
    assert not reconciled(run).complete
