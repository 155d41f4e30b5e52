"""Contract 2 under attack: whatever is logged is one line of JSON, and the caller hears nothing of trouble."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.observability import RequestFinished, annotate
from app.observability._asgi import Receive, Scope, Send
from app.observability._identity import Identity
from app.observability._logging import LogSink
from app.observability.testing import Captured, capture_logs
from tests.emitted import Emitted, parse

logger = logging.getLogger("tested")

ALWAYS = ["timestamp", "level", "service", "instance", "trace_id", "span_id", "logger", "message"]


class Broken:
    """An object that cannot be told."""

    def __str__(self) -> str:  # noqa: D105 - the class says it
        msg = "no text"
        raise RuntimeError(msg)

    __repr__ = __str__


class Unbound:
    """A proxy of nothing, as frameworks have them: it will not even say what it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # noqa: D105 - the class says it
        msg = "outside of a request"
        raise RuntimeError(msg)

    def __str__(self) -> str:  # noqa: D105 - the class says it
        msg = "outside of a request"
        raise RuntimeError(msg)


class Measured(float):
    """A number that is a little more than one, such as numpy's."""


class Slippery(dict[str, int]):
    """A dictionary that will not be read."""

    def items(self) -> Any:  # noqa: D102 - the class says it
        raise RuntimeError


def cyclic() -> list[object]:
    ring: list[object] = []
    ring.append(ring)
    return ring


def deep() -> object:
    value: object = "end"
    for _ in range(10_000):
        value = [value]
    return value


TEXTS = st.text(st.characters()) | st.sampled_from(
    ["\ud800", "a\u2028b", "a\u2029b", "a\u0085b", "\n", "\r", "\x00", "\x1b[2J", '"}\n{"', "%s %d", "x" * 20_000]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | TEXTS | st.complex_numbers()
    | st.sampled_from([2**70, -(2**70), float("nan"), float("inf"), Broken, ValueError("text"), object])
    | st.builds(Broken) | st.builds(Measured, st.floats()) | st.builds(lambda: 10**5000)
    | st.builds(cyclic) | st.builds(Slippery, st.just({"a": 1})),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS | st.integers() | st.none(), inner, max_size=5)
    | st.tuples(inner, inner) | st.sets(st.integers(), max_size=3),
    max_leaves=10,
)  # fmt: skip
NAMES = TEXTS | st.sampled_from(
    [*ALWAYS, "name", "msg", "args", "exc_info", "message", "asctime", "truncated", "event", "_fields", "taskName"]
)


@pytest.fixture(scope="module")
def captured() -> Iterator[Captured]:
    """Capture lines, once for all examples."""
    with capture_logs() as captured:
        yield captured


def written(captured: Captured) -> str:
    text = captured.stream.getvalue()
    captured.stream.seek(0)
    captured.stream.truncate()
    return text


@settings(max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=VALUES, args=st.lists(VALUES, max_size=3), extra=st.dictionaries(NAMES, VALUES, max_size=4))
def test_whatever_is_logged_is_one_line(
    captured: Captured, message: object, args: list[object], extra: dict[str, object]
) -> None:
    """Any message, arguments, names and values: one line, one object, not too long; nobody lies about who wrote it."""
    logger.warning(message, *args, extra=extra)

    text = written(captured)
    (line,) = parse(text)
    assert text.endswith("\n")
    assert len(text.encode()) <= 8192
    assert ALWAYS == list(line)[:8]
    assert ("warning", "tested", "tested", "-", "-") == (
        line["level"], line["service"], line["logger"], line["trace_id"], line["span_id"],
    )  # fmt: skip
    assert captured.value("log_records_failed_total") == 0


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(NAMES, VALUES, max_size=4))
def test_whatever_is_annotated_is_one_line(captured: Captured, fields: dict[str, object]) -> None:
    """The same for the line at the end of a request, whose own fields stay what they are."""
    sink = LogSink(captured.observability.lines, ())
    sink.finished(RequestFinished(Identity("id", "span"), "GET", "/{x}", 200, 0.1, "ok", fields))

    text = written(captured)
    (line,) = parse(text)
    assert len(text.encode()) <= 8192
    assert ("tested", "id", "Request finished", "/{x}", 200, 100.0, "ok") == (
        line["service"], line["trace_id"], line["message"], line["route"], line["status"], line["duration_ms"],
        line["outcome"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param(2**70, str(2**70), id="huge integer"),
        pytest.param(10**5000, "<int without a text>", id="integer without a text"),
        pytest.param(float("nan"), None, id="NaN"),
        pytest.param("\ud800", "\\ud800", id="lone surrogate"),
        pytest.param(b"\xff", "b'\\xff'", id="bytes"),
        pytest.param(Broken(), "<Broken without a text>", id="broken"),
        pytest.param(cyclic(), ["..."], id="cycle"),
        pytest.param([Measured(1.5), 2**70], [1.5, str(2**70)], id="number that is a little more"),
        pytest.param([Unbound(), 7], ["<Unbound without a text>", 7], id="unbound"),
        pytest.param({1: {2}}, {"1": "{2}"}, id="no JSON"),
    ],
)
def test_a_value_tells_what_can_be_told(captured: Captured, value: object, told: object) -> None:
    """And the fields beside it are not harmed."""
    logger.info("hello", extra={"value": value, "beside": 7})

    (line,) = parse(written(captured))
    assert (told, 7) == (line["value"], line["beside"])


@pytest.mark.parametrize(
    "message", [pytest.param({"level": "forged", "trace_id": "x"}, id="dict"), pytest.param(Broken(), id="broken")]
)
def test_a_message_is_a_text(captured: Captured, message: object) -> None:
    """A dictionary as a message sets no fields, and what has no text is still a line."""
    logger.info(message)

    (line,) = parse(written(captured))
    assert isinstance(line["message"], str)
    assert ("info", "-") == (line["level"], line["trace_id"])


def test_arguments_that_do_not_fit_cost_no_line(captured: Captured) -> None:
    """A mistake in a call to the logger is seen in the line, and does not end the request."""
    logger.info("%d users", "many")

    (line,) = parse(written(captured))
    assert line["message"].endswith("%d users")


def test_a_name_that_records_use_is_kept_under_another(captured: Captured) -> None:
    """Python's own logging would raise a KeyError in the middle of the request."""
    taken: dict[str, object] = {"name": "Ada", "message": "forged", "sku": "mug"}
    logger.info("hello", extra=taken)

    (line,) = parse(written(captured))
    assert ("hello", "Ada", "forged", "mug") == (line["message"], line["name_"], line["message_"], line["sku"])


def test_a_deep_value_is_told_to_a_depth(captured: Captured) -> None:
    """The rest is dots; no recursion ends the request."""
    logger.info("hello", extra={"value": deep()})

    (line,) = parse(written(captured))
    assert "..." in json.dumps(line["value"])


def test_what_is_too_long_keeps_head_and_tail(captured: Captured) -> None:
    """Both ends of a message, of a list and of an object say more than one of them."""
    numbers = [f"frame {number}" for number in range(5_000)]
    logger.info("begin %s end", "x" * 50_000, extra={"stack": numbers, "payload": {str(n): n for n in range(5_000)}})

    text = written(captured)
    (line,) = parse(text)
    assert len(text.encode()) <= 8192
    assert line["truncated"] is True
    assert line["message"].startswith("begin x")
    assert line["message"].endswith("x end")
    assert ("frame 0", "frame 4999") == (line["stack"][0], line["stack"][-1])
    assert 0 == line["payload"]["0"]


@pytest.mark.anyio
async def test_what_is_annotated_cannot_lie(emitted: Emitted) -> None:
    """Not about the status, the service or the time; the rest is there."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        annotate(service="forged", timestamp="forged", status=1, event="forged", tenant="acme", odd=Broken())
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async with emitted.observe(app, routes={"/"}) as client:
        await client.get("/")

    line = emitted.finished()
    assert ("tested", 200, "acme") == (line["service"], line["status"], line["tenant"])
