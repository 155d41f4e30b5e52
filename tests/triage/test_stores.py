"""What every store promises to the questions; tests/stack/test_stores.py asks real servers the same."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.triage.emitting import RUN, T0, Emitting, Line, sent, write
from tests.triage.incidents import requests, run
from tests.triage.memory import MemoryStore
from triage import histograms
from triage.model import Scrape, Traced, Window
from triage.stores import LoadStore, LogStore, MetricStore
from triage.stores.jsonl import JsonlStore

Lines = Sequence[Line]


class Store(LogStore, MetricStore, LoadStore, Protocol):
    """All of it."""


def jsonl(lines: Lines, folder: Path) -> JsonlStore:
    """Spread the lines over files, as the processes of a run do."""
    for number in range(3):
        write(folder / f"{number}.jsonl", lines[number::3])
    return JsonlStore([folder])


def memory(lines: Lines, folder: Path) -> MemoryStore:  # noqa: ARG001 - as every store
    return MemoryStore(lines)


@pytest.fixture(params=[jsonl, memory], ids=lambda each: each.__name__)
def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Lines], Store]:
    return lambda lines: request.param(lines, tmp_path)


def test_a_trace_id_and_a_request_id(store_of: Callable[[Lines], Store]) -> None:
    """Both lead to all lines of the trace, from all services, in order; a part of an id leads nowhere."""
    api, payments = Emitting(), Emitting("payments", "127.0.0.1:8001")
    api.finish(T0 + 2, 5, trace_id="a" * 32, request_id="mine")
    payments.finish(T0 + 1, 3, trace_id="a" * 32, request_id="mine")
    api.line(T0, "Hello", "a" * 32)
    api.line(T0, "Of another", "b" * 32, text="a" * 32 + " mine")
    store = store_of([*api.lines, *payments.lines])
    for any_id in ("a" * 32, "mine"):
        traced = store.trace(any_id)
        assert ("a" * 32,) == traced.trace_ids
        assert ["Hello", "Request finished", "Request finished"] == [line.fields["message"] for line in traced.lines]
        assert [T0, T0 + 1, T0 + 2] == [line.at for line in traced.lines]
    for any_id in ("a" * 31, "min", "", "%", "' OR 1=1 --", '"', "\x1b[31m"):
        assert Traced((), ()) == store.trace(any_id)


def test_a_trace_id_that_is_a_request_id_elsewhere(store_of: Callable[[Lines], Store]) -> None:
    """An id that is a trace's is that trace alone; a request id of two traces is both."""
    api = Emitting()
    api.finish(T0, 5, trace_id="one", request_id="two")
    api.finish(T0 + 1, 5, trace_id="two", request_id="three")
    api.finish(T0 + 2, 5, trace_id="four", request_id="three")
    store = store_of(api.lines)
    assert ("two",) == store.trace("two").trace_ids
    assert ("four", "two") == store.trace("three").trace_ids


def observed(scrapes: Sequence[Scrape]) -> list[tuple[object, ...]]:
    return [(each.start, each.end, each.instance, each.series, each.reset) for each in histograms.increases(scrapes)]


def named(scrapes: Sequence[Scrape]) -> set[tuple[object, ...]]:
    """Return the exemplars of all scrapes but the first; their times are rounded by Prometheus."""
    found = [exemplar for each in histograms.increases(scrapes) for _, exemplar in each.exemplars]
    return {(each.trace_id, each.span_id, round(each.value, 9)) for each in found}


@pytest.mark.parametrize("window", [Window(T0, T0 + 30), Window(T0 + 10.05, T0 + 20), Window(0, 1e11)], ids=str)
def test_counts_are_exact(window: Window, store_of: Callable[[Lines], Store]) -> None:
    """Every number is that of the plainest Python, for every field and value."""
    lines = requests(7, 60, users=8).lines
    for number, line in enumerate(lines):
        line["note"] = [None, "ä\u202e", 'q"uo\\te', ["x", 1], {"a": None}, 1.5, True][number % 7]
        line.update({"a/b~c": number % 3, 'k"\\e.y[0]': number % 2, "$.status": 1, "": number % 4})
        line.update({"sometimes": number % 5} if number % 3 else {})
    asked: tuple[Any, ...] = ("api", window, 500.0, ("*_ms", "timestamp", "fault*"))
    ours, plain = store_of(lines).tally(*asked), MemoryStore(lines).tally(*asked)
    assert plain.counts == ours.counts
    assert [field._replace(values=()) for field in plain.fields] == [field._replace(values=()) for field in ours.fields]
    for theirs, field in zip(plain.fields, ours.fields, strict=True):
        assert set(theirs.values) == set(field.values), field.name
    assert plain.slow_lines == ours.slow_lines
    assert {name: pytest.approx(both) for name, both in plain.sums.items()} == ours.sums


def test_everything_else_agrees(store_of: Callable[[Lines], Store]) -> None:
    """Rates, scrapes with their exemplars, lives, runs and what was sent are those of the plainest Python."""
    lines = run(3, replicas=2, restart=True).lines
    lines += [sent(T0 + number, number, None if number % 9 == 0 else 200) for number in range(40)]
    lines += [sent(T0 - 50, 1, run="earlier")]
    ours, plain = store_of(lines), MemoryStore(lines)
    assert plain.rates("api", 500) == ours.rates("api", 500)
    assert observed(plain.scrapes("api")) == observed(ours.scrapes("api"))
    assert named(plain.scrapes("api")) == named(ours.scrapes("api"))
    assert plain.lives("api") == ours.lives("api")
    assert plain.runs() == ours.runs()
    assert plain.sent(RUN) == ours.sent(RUN)
    assert plain.finished("api", f"{RUN}-") == ours.finished("api", f"{RUN}-")
    theirs, known = plain.searched(), ours.searched()
    assert (theirs.services, theirs.unreadable) == (known.services, known.unreadable)
    for nobody in ("nobody", "%", "'"):
        assert not any([ours.rates(nobody, 500), ours.finished(nobody), ours.scrapes(nobody), ours.sent(nobody)])
