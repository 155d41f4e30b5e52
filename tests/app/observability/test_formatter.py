"""Every record is formatted as one JSON object in one line of at most 8 KiB."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from app.observability import annotate
from app.observability.middleware import Receive, Scope, Send
from app.observability.testing import Captured, capture_logs, metric_value
from tests.emitted import Emitted, parse

logger = logging.getLogger("tested")

ALWAYS = ["timestamp", "level", "service", "instance", "trace_id", "span_id", "logger", "message"]


class Broken:
    """An object whose `str()` and `repr()` fail."""

    def __str__(self) -> str:  # noqa: D105
        msg = "no text"
        raise RuntimeError(msg)

    __repr__ = __str__


class Unbound:
    """A proxy without a target, such as Flask's `request` outside of a request: even `isinstance()` fails."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # noqa: D105
        msg = "outside of a request"
        raise RuntimeError(msg)

    def __str__(self) -> str:  # noqa: D105
        msg = "outside of a request"
        raise RuntimeError(msg)


class FloatSubclass(float):
    """A subclass of float, such as NumPy's."""


class BrokenDict(dict[str, int]):
    """A dictionary whose items cannot be read."""

    def items(self) -> Any:  # noqa: D102
        raise RuntimeError


def cyclic_list() -> list[object]:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


TEXTS = st.text(st.characters()) | st.sampled_from(
    ["\ud800", "a\u2028b", "a\u2029b", "a\u0085b", "\n", "\r", "\x00", "\x1b[2J", '"}\n{"', "%s %d", "x" * 20_000]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | TEXTS | st.complex_numbers()
    | st.sampled_from([2**70, -(2**70), float("nan"), float("inf"), Broken, ValueError("text"), object])
    | st.builds(Broken) | st.builds(FloatSubclass, st.floats()) | st.builds(lambda: 10**5000)
    | st.builds(cyclic_list) | st.builds(BrokenDict, st.just({"a": 1})),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS | st.integers() | st.none(), inner, max_size=5)
    | st.tuples(inner, inner) | st.sets(st.integers(), max_size=3),
    max_leaves=10,
)  # fmt: skip
NAMES = TEXTS | st.sampled_from(
    [*ALWAYS, "name", "msg", "args", "exc_info", "message", "asctime", "truncated", "event", "_fields", "taskName"]
)


@pytest.fixture(scope="module")
def captured() -> Iterator[Captured]:
    """Capture log lines, with one configuration for all tests, because Hypothesis runs many examples."""
    with capture_logs() as captured:
        yield captured


def take_output(captured: Captured) -> str:
    """Return the captured text, and remove it."""
    text = captured.stream.getvalue()
    captured.stream.seek(0)
    captured.stream.truncate()
    return text


ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime", "trace_id", "span_id"}


@given(
    message=VALUES,
    args=st.lists(VALUES, max_size=3),
    extra=st.dictionaries(NAMES.filter(lambda name: name not in ATTRIBUTES), VALUES, max_size=4),
)
def test_every_record_is_one_line(
    captured: Captured, registry: CollectorRegistry, message: object, args: list[object], extra: dict[str, object]
) -> None:
    """Any message, arguments and extra fields give one JSON object; they cannot replace its standard fields."""
    failed = metric_value("log_records_failed_total", registry)
    logger.warning(message, *args, extra=extra)

    text = take_output(captured)
    (line,) = parse(text)
    assert text.endswith("\n")
    assert len(text.encode()) <= 8192
    assert ALWAYS == list(line)[:8]
    assert ("warning", "tested", "tested", "-", "-") == (
        line["level"], line["service"], line["logger"], line["trace_id"], line["span_id"],
    )  # fmt: skip
    assert failed == metric_value("log_records_failed_total", registry)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(2**70, str(2**70), id="huge integer"),
        pytest.param(10**5000, "<int without a text>", id="integer without a text"),
        pytest.param(float("nan"), None, id="NaN"),
        pytest.param("\ud800", "\\ud800", id="lone surrogate"),
        pytest.param(b"\xff", "b'\\xff'", id="bytes"),
        pytest.param(Broken(), "<Broken without a text>", id="broken"),
        pytest.param(cyclic_list(), ["..."], id="cycle"),
        pytest.param([FloatSubclass(1.5), 2**70], [1.5, str(2**70)], id="subclass of float"),
        pytest.param([Unbound(), 7], ["<Unbound without a text>", 7], id="unbound"),
        pytest.param({1: {2}}, {"1": "{2}"}, id="set"),
    ],
)
def test_values_that_json_does_not_support(captured: Captured, value: object, shown: object) -> None:
    """They are shown as text, and the other fields are not affected."""
    logger.info("hello", extra={"value": value, "other": 7})

    (line,) = parse(take_output(captured))
    assert (shown, 7) == (line["value"], line["other"])


def test_a_dictionary_as_message_adds_fields(captured: Captured) -> None:
    """As in python-json-logger; it cannot replace standard fields."""
    logger.info({"level": "forged", "trace_id": "x", "sku": "mug", "message": "Sold"})

    (line,) = parse(take_output(captured))
    assert ("info", "-", "mug", "Sold") == (line["level"], line["trace_id"], line["sku"], line["message"])


def test_a_message_with_wrong_arguments_is_logged(captured: Captured) -> None:
    """The line has the error instead of being lost."""
    logger.info("%d users", "many")

    (line,) = parse(take_output(captured))
    assert ("%d users", "TypeError") == (line["message"], line["log_error"])


def test_extra_fields_cannot_replace_standard_fields(captured: Captured) -> None:
    """`extra=` is often filled from data of users."""
    logger.info("hello", extra={"service": "forged", "timestamp": "forged", "level": "forged"})

    (line,) = parse(take_output(captured))
    assert ("tested", "info") == (line["service"], line["level"])
    assert "forged" != line["timestamp"]


@pytest.mark.parametrize(
    "text", ["two\nlines", "a\u2028b", "a\u2029b", "a\u0085b", '"} {"', "\x1b[31mred", "\x00"], ids=ascii
)
def test_line_separators_are_escaped(captured: Captured, text: str) -> None:
    """Also Unicode's separators, at which some readers split lines; a JSON parser returns the original text."""
    logger.info(text, extra={"value": text})

    (line,) = parse(take_output(captured))
    assert (text, text) == (line["message"], line["value"])


def test_a_long_field_does_not_displace_short_ones(captured: Captured) -> None:
    """An exemplar must lead to a line with its duration."""
    logger.info("cut", extra={"big": "x" * 9000, "event": "request.finished", "duration_ms": 1.5})

    (line,) = parse(take_output(captured))
    assert ("request.finished", 1.5, True) == (line["event"], line["duration_ms"], line["truncated"])
    assert len(line["big"]) < 3000


def test_nesting_is_limited(captured: Captured) -> None:
    """Deeper values are replaced by dots, without a `RecursionError`."""
    value: object = "innermost"
    for _ in range(10_000):
        value = [value]
    logger.info("hello", extra={"value": value})

    (line,) = parse(take_output(captured))
    assert "..." in json.dumps(line["value"])


def test_long_values_keep_their_beginning_and_end(captured: Captured) -> None:
    """This applies to texts, lists and objects."""
    numbers = [f"frame {number}" for number in range(5_000)]
    logger.info("begin %s end", "x" * 50_000, extra={"stack": numbers, "payload": {str(n): n for n in range(5_000)}})

    text = take_output(captured)
    (line,) = parse(text)
    assert len(text.encode()) <= 8192
    assert line["truncated"] is True
    assert line["message"].startswith("begin x")
    assert line["message"].endswith("x end")
    assert ("frame 0", "frame 4999") == (line["stack"][0], line["stack"][-1])
    assert 0 == line["payload"]["0"]


@pytest.mark.anyio
async def test_annotations_cannot_replace_fields(emitted: Emitted) -> None:
    """Other annotations are added to the line."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        annotate(service="forged", timestamp="forged", status=1, event="forged", tenant="acme", odd=Broken())
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async with emitted.observe(app, routes={"/"}) as client:
        await client.get("/")

    line = emitted.finished()
    assert ("tested", 200, "acme") == (line["service"], line["status"], line["tenant"])
