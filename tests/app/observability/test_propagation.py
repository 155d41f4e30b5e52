"""Contract 1, onward: the id travels on, and nothing leaks from one request to the next."""

import asyncio

import anyio.to_thread
import pytest

from app.observability import annotate, current_trace, inject, record_time
from app.observability.context import NO_REQUEST
from app.observability.middleware import Receive, Scope, Send
from tests.emitted import Emitted

pytestmark = pytest.mark.anyio

HEX = "0af7651916cd43dd8448eb211c80319c"


async def outgoing(emitted: Emitted, headers: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        seen.update(inject())
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async with emitted.observe(app) as client:
        await client.get("/", headers=headers)
    return seen


async def test_both_headers_travel_on(emitted: Emitted) -> None:
    """The next service logs the same trace id, its parent is this request's span, the client's own id goes along."""
    headers = await outgoing(emitted, {"traceparent": f"00-{HEX}-b7ad6b7169203331-00", "X-Request-ID": "run-0-1"})

    span = emitted.finished()["span_id"]
    assert {"traceparent": f"00-{HEX}-{span}-00", "x-request-id": "run-0-1"} == headers


async def test_what_other_vendors_noted_travels_on(emitted: Emitted) -> None:
    """`tracestate` goes along with its traceparent, and never without it."""
    traceparent = {"traceparent": f"00-{HEX}-b7ad6b7169203331-01"}

    assert "a=1,b=2" == (await outgoing(emitted, {**traceparent, "tracestate": "a=1,b=2"}))["tracestate"]
    assert "tracestate" not in await outgoing(emitted, {"X-Request-ID": "my-id", "tracestate": "a=1"})


async def test_without_a_request_id_the_trace_id_travels_as_one(emitted: Emitted) -> None:
    """A service that knows X-Request-ID only still logs the same id."""
    headers = await outgoing(emitted, {"traceparent": f"00-{HEX}-b7ad6b7169203331-01"})

    assert HEX == headers["x-request-id"]


async def test_an_id_that_is_not_w3c_makes_no_traceparent(emitted: Emitted) -> None:
    """A made-up traceparent would be invalid, and the next service would make up another id."""
    assert {"x-request-id": "my-id"} == await outgoing(emitted, {"X-Request-ID": "my-id"})


def test_outside_a_request_nothing_is_collected() -> None:
    """Annotations and times outside of requests do not fill the memory."""
    annotate(user_id=1)
    record_time("db", 1.0)

    assert {} == NO_REQUEST.fields()
    assert {} == inject()


async def test_requests_at_the_same_time_do_not_mix(emitted: Emitted) -> None:
    """Tasks and threads of a request see its id, and no other."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        own = scope["path"].removeprefix("/")
        await asyncio.sleep(0.01)
        ids = {current_trace().trace_id}
        async with asyncio.TaskGroup() as tasks:
            child = tasks.create_task(_in_a_task())
        ids |= {child.result(), await anyio.to_thread.run_sync(lambda: current_trace().trace_id)}
        await send({"type": "http.response.start", "status": 200 if ids == {own} else 500})
        await send({"type": "http.response.body"})

    async with emitted.observe(app) as client:
        calls = [client.get(f"/id-{number}", headers={"X-Request-ID": f"id-{number}"}) for number in range(200)]
        responses = await asyncio.gather(*calls)

    assert {200} == {response.status_code for response in responses}
    assert "-" == current_trace().trace_id


async def _in_a_task() -> str:
    await asyncio.sleep(0)
    return current_trace().trace_id
