"""Promises of every store with real servers, and those that only servers need: pages, search windows, escaping."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stack import preloaded
from tests.triage.fake_service import RUN, T0, FakeService, sent, write
from tests.triage.incidents import requests, run
from tests.triage.test_stores import (
    Lines,
    Store,
    StoreOf,
    test_fields_are_counted_exactly,
    test_requests_processes_and_runs,
    test_trace_id_and_request_id_find_all_lines_of_a_trace,
    test_trace_ids_take_precedence_over_request_ids,
)
from triage import histograms
from triage.models import Scrape, Window
from triage.stores.client import HttpClient
from triage.stores.jsonl import JsonlStore
from triage.stores.loki import LokiStore
from triage.stores.prometheus import PrometheusStore

__all__ = [
    "test_fields_are_counted_exactly",
    "test_requests_processes_and_runs",
    "test_trace_id_and_request_id_find_all_lines_of_a_trace",
    "test_trace_ids_take_precedence_over_request_ids",
]

WINDOW = Window(T0 - 100, T0 + 1_000)


class StackStore(LokiStore):
    """Logs in Loki, metrics in Prometheus, and a file of sent requests."""

    def __init__(self, loki: HttpClient, prometheus: HttpClient, load: Path) -> None:
        """Combine the three stores."""
        super().__init__(loki, WINDOW)
        metrics, files = PrometheusStore(prometheus, WINDOW), JsonlStore([load])
        self.scrapes, self.runs, self.sent = metrics.scrapes, files.runs, files.sent


@pytest.fixture
def store_of(tmp_path: Path) -> Iterator[Callable[[Lines], Store]]:
    number = itertools.count()
    with ExitStack() as stack:

        def fill(lines: Lines) -> Store:
            folder = tmp_path / str(next(number))
            folder.mkdir()
            loki = stack.enter_context(HttpClient("Loki", stack.enter_context(preloaded.loki(folder, lines)), 60))
            url = stack.enter_context(preloaded.prometheus(folder, lines))
            prometheus = stack.enter_context(HttpClient("Prometheus", url))
            return StackStore(loki, prometheus, write(folder / "sent.jsonl", lines))

        yield fill


@pytest.mark.parametrize("window", [Window(T0, T0 + 30), Window(T0 + 10.05, T0 + 20), Window(0, 1e11)], ids=str)
def test_fields_are_counted_as_in_files(window: Window, store_of: StoreOf, tmp_path: Path) -> None:
    """The counts of random requests are those of the same lines in a file."""
    lines = requests(7, 60, users=8).lines
    for number, line in enumerate(lines):
        line["note"] = [None, "ä\u202e", 'q"uo\\te', ["x", 1], {"a": None}, 1.5, True][number % 7]
    options: tuple[Any, ...] = ("api", window, 500.0, ("*_ms", "timestamp", "fault*"))
    of_stack = store_of(lines).count_fields(*options)
    of_file = JsonlStore([write(tmp_path / "all.jsonl", lines)]).count_fields(*options)
    assert of_file._replace(sums={}) == of_stack._replace(sums={})
    assert {name: pytest.approx(both) for name, both in of_file.sums.items()} == of_stack.sums


def increases(scrapes: Sequence[Scrape]) -> list[tuple[object, ...]]:
    return [(each.start, each.end, each.instance, each.series, each.reset) for each in histograms.increases(scrapes)]


def new_exemplars(scrapes: Sequence[Scrape]) -> set[tuple[object, ...]]:
    """Return the exemplars of all scrapes but the first, without their times, which Prometheus rounds."""
    found = [exemplar for each in histograms.increases(scrapes) for _, exemplar in each.exemplars]
    return {(each.trace_id, each.span_id, round(each.value, 9)) for each in found}


def test_everything_else_is_as_in_files(store_of: StoreOf, tmp_path: Path) -> None:
    """Rates, scrapes, exemplars, process events and requests of a random run are those of the same lines in a file."""
    lines = run(3, replicas=2, restart=True).lines
    lines += [sent(T0 + number, number, None if number % 9 == 0 else 200) for number in range(40)]
    of_stack, of_file = store_of(lines), JsonlStore([write(tmp_path / "all.jsonl", lines)])
    assert of_file.rates("api", 500) == of_stack.rates("api", 500)
    assert increases(of_file.scrapes("api")) == increases(of_stack.scrapes("api"))
    assert new_exemplars(of_file.scrapes("api")) == new_exemplars(of_stack.scrapes("api"))
    assert of_file.process_events("api") == of_stack.process_events("api")
    assert of_file.finished("api", f"{RUN}-") == of_stack.finished("api", f"{RUN}-")
    summary, expected = of_stack.summary(), of_file.summary()
    assert (expected.services, expected.unreadable) == (summary.services, summary.unreadable)


def test_more_than_a_page(store_of: StoreOf) -> None:
    """All of 12,000 requests are found, many of them at the same time, although a response of Loki has 5,000 lines."""
    api = FakeService()
    for number in range(12_000):
        api.finish(T0 + number // 700, 5, request_id=f"r-{number}")
    assert 12_000 == len({each.request_id for each in store_of(api.lines).finished("api")})


def test_long_lines(store_of: StoreOf) -> None:
    """A page of 5,000 lines of 3 kB, as in a large incident, is more than the 4 MiB that Loki's own limit allows."""
    api = FakeService()
    for number in range(5_000):
        api.finish(T0 + number // 100, 900, request_id=f"r-{number}", payload="x" * 3_000)
    assert 5_000 == len({each.request_id for each in store_of(api.lines).finished("api")})


def test_search_windows(store_of: StoreOf) -> None:
    """Old requests are found by the time in a UUIDv7 or in a run's request id, and by any other id step by step."""
    api = FakeService()
    old = T0 - 6_000
    uuid7 = f"{round(old * 1000):012x}7abc8abc0123456789ab"
    api.finish(old + 1, 5, trace_id=uuid7, request_id="20261112T112640a7-0-1")
    api.finish(old + 2, 5, trace_id="other", request_id="another")
    store = store_of(api.lines)
    for any_id, expected in ((uuid7, uuid7), ("other", "other"), ("another", "other")):
        assert (expected,) == store.trace(any_id).trace_ids


@pytest.mark.parametrize(
    "hostile",
    [
        'x"} or {service_name=~".+',
        'x" | trace_id!="',
        "`} |= `",
        '\\" or vector(1) or "',
        "a\nb",
        "{{.trace_id}}",
        "\x00",
    ],
    ids=ascii,
)
def test_queries_are_escaped(store_of: StoreOf, hostile: str) -> None:
    """Ids and services with special characters find nothing, and cannot change a query."""
    api = FakeService()
    api.finish(T0, 5, trace_id="a" * 32, request_id="mine")
    api.scrape(T0 + 1)
    store = store_of(api.lines)
    assert not store.trace(hostile).lines
    results = store.finished(hostile), store.process_events(hostile), store.scrapes(hostile), store.rates(hostile, 1)
    assert not any(results)
    assert 1 == len(store.finished("api"))
