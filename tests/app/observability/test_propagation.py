"""The trace context of a request: read from headers, created, and passed on."""

import asyncio
import random
import re
import time

import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.observability import (
    TraceContext,
    annotate,
    continue_trace,
    current_trace,
    extract,
    inject,
    new_span_id,
    new_trace_id,
    record_time,
)
from app.observability.middleware import Receive, Scope, Send
from tests.emitted import Emitted

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def trace_of(*headers: tuple[str, str]) -> tuple[TraceContext, list[str]]:
    """Return the trace context of a request with these headers, and the reasons for rejected headers."""
    rejected: list[str] = []
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return extract(raw, on_rejected=rejected.append), rejected


async def respond(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


def test_traceparent_has_priority_over_the_request_id() -> None:
    """The trace id is that of traceparent, and the request id is kept."""
    trace, rejected = trace_of(("traceparent", TRACEPARENT), ("X-Request-ID", "run-0-1"))

    assert (TRACE_ID, "run-0-1", []) == (trace.trace_id, trace.request_id, rejected)


def test_a_request_id_without_traceparent_is_the_trace_id() -> None:
    """So that clients find the lines by their own id."""
    trace, _ = trace_of(("X-Request-ID", "my.id_1-a"))

    assert ("my.id_1-a", "my.id_1-a") == (trace.trace_id, trace.request_id)


def test_a_new_trace_id_contains_the_time() -> None:
    """It is a UUIDv7, whose first 48 bits are the milliseconds since 1970."""
    before = time.time_ns() // 1_000_000
    trace, rejected = trace_of()
    after = time.time_ns() // 1_000_000

    assert re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", trace.trace_id)
    assert before <= int(trace.trace_id[:12], 16) <= after
    assert (None, []) == (trace.request_id, rejected)


def test_every_request_has_its_own_span_id() -> None:
    """Also two requests with the same trace id, such as a retry."""
    spans = {trace_of(("traceparent", TRACEPARENT))[0].span_id for _ in range(1000)}

    assert len(spans) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{16}", span) and int(span, 16) for span in spans)


def test_ids_do_not_depend_on_the_random_seed() -> None:
    """Two replicas that both call `random.seed(1)` create different ids."""
    random.seed(1)
    first = (new_trace_id()[16:], new_span_id())
    random.seed(1)
    second = (new_trace_id()[16:], new_span_id())

    assert set(first).isdisjoint(second)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("-", id="the id outside requests"),
        pytest.param("a" * 65, id="too long"),
        pytest.param("a b", id="space"),
        pytest.param("a\n{}", id="newline"),
        pytest.param("\u00e9", id="not ASCII"),
        pytest.param("`} | drop", id="LogQL"),
    ],
)
def test_an_invalid_request_id_is_replaced(value: str) -> None:
    """The trace id is a new one, and the reason is reported."""
    trace, rejected = trace_of(("X-Request-ID", value))

    assert trace.request_id is None
    assert len(trace.trace_id) == 32
    assert ["request_id_invalid"] == rejected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"00-{'0' * 32}-b7ad6b7169203331-01", id="trace id of zeros"),
        pytest.param(f"00-{TRACE_ID}-{'0' * 16}-01", id="span id of zeros"),
        pytest.param(f"ff-{TRACE_ID}-b7ad6b7169203331-01", id="version ff"),
        pytest.param(f"{TRACEPARENT}-more", id="version 00 with more"),
        pytest.param(f"00-{TRACE_ID.upper()}-b7ad6b7169203331-01", id="upper case"),
        pytest.param(f"{TRACEPARENT}\n", id="newline"),
    ],
)
def test_an_invalid_traceparent_is_replaced(value: str) -> None:
    """As the W3C specification demands; the reason is reported."""
    trace, rejected = trace_of(("traceparent", value))

    assert trace.trace_id != TRACE_ID
    assert ["traceparent_invalid"] == rejected


def test_a_later_version_of_traceparent_may_have_more_parts() -> None:
    """The W3C specification demands that the known parts are used."""
    trace, rejected = trace_of(("traceparent", f"01-{TRACE_ID}-b7ad6b7169203331-00-more"))

    assert (TRACE_ID, "00", []) == (trace.trace_id, trace.trace_flags, rejected)


def test_tracestate_without_traceparent_is_ignored() -> None:
    """It belongs to the trace of the other header."""
    assert trace_of(("traceparent", TRACEPARENT), ("tracestate", "a=1,b=2"))[0].tracestate == "a=1,b=2"

    trace, rejected = trace_of(("tracestate", "a=1,b=2"))
    assert (None, []) == (trace.tracestate, rejected)


def test_a_tracestate_of_more_than_512_characters_is_rejected() -> None:
    """The trace id is used nevertheless."""
    trace, rejected = trace_of(("traceparent", TRACEPARENT), ("tracestate", "a=" + "1" * 511))

    assert (TRACE_ID, None, ["tracestate_invalid"]) == (trace.trace_id, trace.tracestate, rejected)


ALMOST_VALID = st.sampled_from([
    b"", b"-", b"a" * 64, b"a" * 65, b"a" * 70_000, b"-" * 10_000 + TRACE_ID.encode(), b"urn:uuid:" + TRACE_ID.encode(),
    b"{" * 5_000 + TRACE_ID.encode(), b" " + TRACE_ID.encode(), TRACE_ID.encode() + b"\n", b"%0a", b"\x00", b"\xa0",
    b"\x1b[31m", TRACEPARENT.encode(), b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
    b"01-" + TRACE_ID.encode() + b"-b7ad6b7169203331-01-x", TRACEPARENT.encode() + b"\r\nX: y",
])  # fmt: skip
VALUES = st.binary(max_size=200) | ALMOST_VALID | st.from_regex(rb"[0-9a-f-]{55}", fullmatch=True)
NAMES = st.sampled_from([b"x-request-id", b"traceparent", b"tracestate", b"accept"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_any_headers_give_valid_ids(headers: list[tuple[bytes, bytes]]) -> None:
    """The ids fit into a line, a header and an exemplar; each invalid header is reported once."""
    rejected: list[str] = []
    trace = extract(headers, on_rejected=rejected.append)

    assert VALID_ID.fullmatch(trace.trace_id)
    assert re.fullmatch(r"[0-9a-f]{16}", trace.span_id)
    assert trace.request_id is None or VALID_ID.fullmatch(trace.request_id)
    assert re.fullmatch(r"[0-9a-f]{2}", trace.trace_flags)
    assert trace.tracestate is None or re.fullmatch(r"[ -~]{1,512}", trace.tracestate)
    assert len(rejected) == len(set(rejected))
    if trace.request_id:
        assert trace.request_id.encode() in dict(headers).values()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        pytest.param("X-Request-ID", b"secret" * 1_000, "request_id_invalid", id="too long"),
        pytest.param("X-Request-ID", b"secret\xe9", "request_id_invalid", id="not ASCII"),
        pytest.param("X-Request-ID", b"urn:uuid:secret", "request_id_invalid", id="urn"),
        pytest.param("X-Request-ID", b'secret","level":"forged', "request_id_invalid", id="JSON"),
        pytest.param("traceparent", b"00-secret", "traceparent_invalid", id="traceparent"),
    ],
)
async def test_an_invalid_id_is_counted_and_not_repeated(
    emitted: Emitted, name: str, value: bytes, reason: str
) -> None:
    """It is neither in the response nor in a line."""
    async with emitted.observe(respond) as client:
        response = await client.get("/", headers={name.encode(): value})

    assert [emitted.finished()["trace_id"]] == response.headers.get_list("x-trace-id")
    assert "secret" not in emitted.stream.getvalue() + str(response.headers)
    assert "x-request-id" not in response.headers
    assert 1 == emitted.value("request_ids_rejected_total", reason=reason)


@pytest.mark.anyio
async def test_a_public_service_ignores_the_ids_of_clients(emitted: Emitted) -> None:
    """With `trust_client_ids=False`, a client cannot use the trace id of another one."""
    async with emitted.observe(respond, trust_client_ids=False) as client:
        headers = {"X-Request-ID": "mine", "traceparent": TRACEPARENT, "tracestate": "a=1"}
        response = await client.get("/", headers=headers)

    line = emitted.finished()
    assert response.headers["x-trace-id"] == line["trace_id"]
    assert line["trace_id"] not in {"mine", TRACE_ID}
    assert "request_id" not in line
    assert "x-request-id" not in response.headers


@pytest.mark.anyio
async def test_both_headers_are_passed_on(emitted: Emitted) -> None:
    """The parent of the next span is the span of this request; flags and request id do not change."""
    headers: dict[str, str] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers.update(inject())
        await respond(scope, receive, send)

    async with emitted.observe(app) as client:
        await client.get("/", headers={"traceparent": f"{TRACEPARENT[:-2]}00", "X-Request-ID": "run-0-1"})

    span_id = emitted.finished()["span_id"]
    assert {"traceparent": f"00-{TRACE_ID}-{span_id}-00", "x-request-id": "run-0-1"} == headers


def outgoing(**headers: str) -> dict[str, str]:
    """Return the headers for a call to another service by a request with these headers."""
    with continue_trace({name.replace("_", "-"): value for name, value in headers.items()}):
        return inject()


def test_tracestate_is_passed_on_with_traceparent() -> None:
    """And not without it."""
    assert "a=1,b=2" == outgoing(traceparent=TRACEPARENT, tracestate="a=1,b=2")["tracestate"]
    assert "tracestate" not in outgoing(x_request_id="my-id", tracestate="a=1")


def test_the_trace_id_is_passed_on_as_request_id() -> None:
    """A service that reads only X-Request-ID logs the same trace id."""
    assert TRACE_ID == outgoing(traceparent=TRACEPARENT)["x-request-id"]


def test_a_trace_id_that_is_not_hexadecimal_makes_no_traceparent() -> None:
    """It would be invalid, and the next service would create another trace id."""
    assert {"x-request-id": "my-id"} == outgoing(x_request_id="my-id")


def test_outside_a_request_there_is_no_trace() -> None:
    """There are no headers to pass on, and annotations and times are ignored."""
    annotate(user_id=1)
    record_time("db", 1.0)

    assert {} == inject()
    assert ("-", "-") == current_trace()[:2]


@pytest.mark.anyio
async def test_concurrent_requests_do_not_share_a_trace(emitted: Emitted) -> None:
    """The tasks and threads of a request have its trace id."""

    async def trace_id_in_a_task() -> str:
        await asyncio.sleep(0)
        return current_trace().trace_id

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.01)
        ids = {current_trace().trace_id}
        async with asyncio.TaskGroup() as tasks:
            child = tasks.create_task(trace_id_in_a_task())
        ids |= {child.result(), await anyio.to_thread.run_sync(lambda: current_trace().trace_id)}
        await send({"type": "http.response.start", "status": 200 if ids == {scope["path"][1:]} else 500})
        await send({"type": "http.response.body"})

    async with emitted.observe(app) as client:
        calls = [client.get(f"/id-{number}", headers={"X-Request-ID": f"id-{number}"}) for number in range(200)]
        responses = await asyncio.gather(*calls)

    assert {200} == {response.status_code for response in responses}
