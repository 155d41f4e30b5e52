"""What every store promises, by real servers; and what only servers have: pages, windows, and hostile words."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.stack import filled
from tests.triage.emitting import T0, Emitting, write
from tests.triage.test_stores import (
    Lines,
    Store,
    test_a_trace_id_and_a_request_id,
    test_a_trace_id_that_is_a_request_id_elsewhere,
    test_counts_are_exact,
    test_everything_else_agrees,
)
from triage.model import Window
from triage.stores._http import Server
from triage.stores.jsonl import JsonlStore
from triage.stores.loki import LokiStore
from triage.stores.prometheus import PrometheusStore

__all__ = [
    "test_a_trace_id_and_a_request_id",
    "test_a_trace_id_that_is_a_request_id_elsewhere",
    "test_counts_are_exact",
    "test_everything_else_agrees",
]

WINDOW = Window(T0 - 100, T0 + 1_000)


class Filled(LokiStore):
    """Loki and Prometheus, and a file of what the load sent."""

    def __init__(self, loki: Server, prometheus: Server, sent: Path) -> None:
        """Ask all three."""
        super().__init__(loki, WINDOW)
        metrics, load = PrometheusStore(prometheus, WINDOW), JsonlStore([sent])
        self.scrapes, self.runs, self.sent = metrics.scrapes, load.runs, load.sent


@pytest.fixture
def store_of(tmp_path: Path) -> Iterator[Callable[[Lines], Store]]:
    number = itertools.count()
    with ExitStack() as stack:

        def fill(lines: Lines) -> Store:
            folder = tmp_path / str(next(number))
            folder.mkdir()
            loki = stack.enter_context(Server("Loki", stack.enter_context(filled.loki(folder, lines)), 60))
            url = stack.enter_context(filled.prometheus(folder, lines))
            return Filled(loki, stack.enter_context(Server("Prometheus", url)), write(folder / "sent.jsonl", lines))

        yield fill


def test_more_than_a_page(store_of: Callable[[Lines], Store]) -> None:
    """12,000 requests, many of them at the same moment, are 12,000: Loki gives 5,000 at a time."""
    api = Emitting()
    for number in range(12_000):
        api.finish(T0 + number // 700, 5, request_id=f"r-{number}")
    assert 12_000 == len({each.request_id for each in store_of(api.lines).finished("api")})


def test_an_id_tells_where_to_look(store_of: Callable[[Lines], Store]) -> None:
    """A UUIDv7 and a request id of a run are found at once; any other one, long before, step by step."""
    api = Emitting()
    old = T0 - 6_000
    version_7 = f"{round(old * 1000):012x}7abc8abc0123456789ab"
    api.finish(old + 1, 5, trace_id=version_7, request_id="20261112T112640a7-0-1")
    api.finish(old + 2, 5, trace_id="other", request_id="another")
    store = store_of(api.lines)
    for any_id, expected in ((version_7, version_7), ("other", "other"), ("another", "other")):
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
def test_nobody_breaks_out(store_of: Callable[[Lines], Store], hostile: str) -> None:
    """Whatever is asked for is a value: it finds nothing, and is no query."""
    api = Emitting()
    api.finish(T0, 5, trace_id="a" * 32, request_id="mine")
    api.scrape(T0 + 1)
    store = store_of(api.lines)
    assert not store.trace(hostile).lines
    assert not any([store.finished(hostile), store.lives(hostile), store.scrapes(hostile), store.rates(hostile, 1)])
    assert 1 == len(store.finished("api"))
