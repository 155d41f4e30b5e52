"""Promises of every store, with exact results; tests/stack/test_stores.py runs them against real servers, too."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.triage.fake_service import RUN, T0, FakeService, Line, sent, write
from triage.models import Counts, Exemplar, Interval, ProcessEvent, Run, Series, TraceLines, Window
from triage.stores import LoadStore, LogStore, MetricStore
from triage.stores.jsonl import JsonlStore

Lines = Sequence[Line]
PAYMENTS = "127.0.0.1:8001"


class Store(LogStore, MetricStore, LoadStore, Protocol):
    """A store of logs, metrics and load."""


StoreOf = Callable[[Lines], Store]


@pytest.fixture
def store_of(tmp_path: Path) -> StoreOf:
    """Return a function that spreads lines over several files, like the processes of a run."""

    def store(lines: Lines) -> JsonlStore:
        for number in range(3):
            write(tmp_path / f"{number}.jsonl", lines[number::3])
        return JsonlStore([tmp_path])

    return store


def test_trace_id_and_request_id_find_all_lines_of_a_trace(store_of: StoreOf) -> None:
    """Both ids return the lines of all services in order; a part of an id returns nothing."""
    api, payments = FakeService(), FakeService("payments", PAYMENTS)
    api.finish(T0 + 2, 5, trace_id="a" * 32, request_id="mine")
    payments.finish(T0 + 1, 3, trace_id="a" * 32, request_id="mine")
    api.line(T0, "Hello", "a" * 32)
    api.line(T0, "Of another", "b" * 32, text="a" * 32 + " mine")
    store = store_of([*api.lines, *payments.lines])
    for any_id in ("a" * 32, "mine"):
        found = store.trace(any_id)
        assert ("a" * 32,) == found.trace_ids
        assert ["Hello", "Request finished", "Request finished"] == [line.fields["message"] for line in found.lines]
        assert [T0, T0 + 1, T0 + 2] == [line.at for line in found.lines]
    for any_id in ("a" * 31, "min", "", "%", "' OR 1=1 --", '"', "\x1b[31m"):
        assert TraceLines((), ()) == store.trace(any_id)


def test_trace_ids_take_precedence_over_request_ids(store_of: StoreOf) -> None:
    """An id that is a trace id returns only that trace; a request id of two traces returns both."""
    api = FakeService()
    api.finish(T0, 5, trace_id="one", request_id="two")
    api.finish(T0 + 1, 5, trace_id="two", request_id="three")
    api.finish(T0 + 2, 5, trace_id="four", request_id="three")
    store = store_of(api.lines)
    assert ("two",) == store.trace("two").trace_ids
    assert ("four", "two") == store.trace("three").trace_ids


def total(counts: Counts) -> tuple[int, int]:
    return sum(counts.slow), sum(counts.fast)


def test_fields_are_counted_exactly(store_of: StoreOf) -> None:
    """Slow and fast requests are counted for every value of every field, with special characters in both."""
    api, values = FakeService(), [None, "ä\u202e", 'q"uo\\te', ["x", 1], {"a": None}, 1.5, True, "once"]
    for number in range(22):
        line = api.finish(T0 + number, 900 if number % 2 else 9, user_id=number % 3, db_ms=number, fault="x")
        line |= {"note": values[min(number // 3, 7)], 'a/b~c k"\\e.y[0]': number % 2, "$.status": 1, "": "empty"}
        line |= {"sometimes": True} if number < 4 else {}
    api.finish(T0 + 100, 900, user_id=5)
    other = FakeService("payments", PAYMENTS)
    other.finish(T0, 900)
    found = store_of([*api.lines, *other.lines]).count_fields(
        "api", Window(T0, T0 + 21), 500, ("*_ms", "timestamp", "fault*")
    )
    assert (11, 11) == total(found.counts)
    assert {"db_ms": (121, 110), "duration_ms": (9900, 99)} == found.sums
    assert [T0 + 1, T0 + 3] == [line.at for line in found.slow_lines[:2]]
    fields = {field.name: field for field in found.fields}
    assert {"user_id", "note", "sometimes", "route", 'a/b~c k"\\e.y[0]', "$.status", ""} <= set(fields)
    assert not [name for name in fields if name.endswith("_ms") or name.startswith("fault")]
    assert (3, 22) == (fields["user_id"].distinct, sum(total(fields["user_id"].present)))
    assert (2, 2) == total(fields["sometimes"].present)
    values_of = {
        name: {json.dumps(json.loads(value.json or "")): total(value.counts) for value in field.values}
        for name, field in fields.items()
    }
    assert {"0": (4, 4), "1": (4, 3), "2": (3, 4)} == values_of["user_id"]
    assert {"1": (11, 0)} == values_of['a/b~c k"\\e.y[0]']
    assert {"1": (11, 11)} == values_of["$.status"]
    assert {"true": (2, 2)} == values_of["sometimes"]
    # Values that only one request has are left out, and those that are never slow.
    assert 8 == fields["note"].distinct
    assert json.dumps("once") not in values_of["note"]
    assert {json.dumps(value) for value in values[:7]} == set(values_of["note"])


def test_requests_processes_and_runs(store_of: StoreOf) -> None:
    """Rates, finished requests, process events and runs contain exactly what was written."""
    api = FakeService()
    api.start(T0 - 2)
    first = api.finish(T0 + 0.25, 5, request_id=f"{RUN}-0-1")
    api.finish(T0 + 0.75, 600, request_id="other", status=503)
    api.finish(T0 + 3.5, 5, request_id=f"{RUN}-0-2")
    api.stop(T0 + 5)
    api.start(T0 + 6)
    load = [sent(T0, 1), sent(T0 + 1, 2, None), sent(T0 - 50, 1, run="earlier")]
    store = store_of([*api.lines, *load])
    instance = api.instance
    first_second, fourth_second = store.rates("api", 500)
    assert (T0, T0 + 1, instance, 2, 1) == first_second[:5]
    assert first_second.arrived == pytest.approx(T0 + 0.15)
    assert Interval(T0 + 3, T0 + 4, instance, 1, 0) == fourth_second
    assert [f"{RUN}-0-1", "other", f"{RUN}-0-2"] == [each.request_id for each in store.finished("api")]
    of_run = store.finished("api", f"{RUN}-")
    assert (T0 + 0.25, instance, first["trace_id"], f"{RUN}-0-1", "GET", "/users/{user_id}", "200") == of_run[0]
    assert 2 == len(of_run)
    totals = {("/users/{user_id}", "200"): 2, ("/users/{user_id}", "503"): 1}
    assert [
        ProcessEvent(T0 - 2, instance, "service.started", None),
        ProcessEvent(T0 + 5, instance, "service.stopped", T0 + 3.5, totals),
        ProcessEvent(T0 + 6, instance, "service.started", T0 + 3.5),
    ] == store.process_events("api")
    assert [Run("earlier", T0 - 50, 1), Run(RUN, T0, 2)] == store.runs()
    assert [(f"{RUN}-0-1", "200", 12.5), (f"{RUN}-0-2", None, 12.5)] == [
        (each.request_id, each.status, each.client_ms) for each in store.sent(RUN)
    ]
    for unknown in ("unknown", "%", "'"):
        assert not any(
            [store.rates(unknown, 500), store.finished(unknown), store.scrapes(unknown), store.sent(unknown)]
        )


def test_scrapes(store_of: StoreOf) -> None:
    """Every scrape has the cumulative counts of each series, and the exemplars that are new."""
    api = FakeService()
    api.finish(T0 + 0.5, 20, route="/users")
    api.scrape(T0 + 1)
    line = api.finish(T0 + 1.5, 600, route="/users")
    api.finish(T0 + 1.75, 20, route="/orders", method="POST", status=201)
    api.scrape(T0 + 2)
    first, second = store_of(api.lines).scrapes("api")
    users, orders = Series("GET", "/users", "200"), Series("POST", "/orders", "201")
    assert (T0 + 1, T0 + 2, api.instance) == (first.at, second.at, second.instance)
    assert {users} == set(first.series)
    assert {users: 2, orders: 1} == {series: histogram.total for series, histogram in second.series.items()}
    buckets = second.series[users].buckets
    assert (0, 1, 1, 2, 2) == tuple(buckets[bound] for bound in (0.01, 0.025, 0.5, 1.0, float("inf")))
    assert Exemplar(line["trace_id"], line["span_id"], 0.6, T0 + 1.5) == second.series[users].exemplars[1.0]
