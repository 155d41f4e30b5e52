"""The route's label is the template that people read in OpenAPI, and nothing that a client can make up."""

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from app.observability.middleware import Receive, Scope, Send
from tests.emitted import Emitted

pytestmark = pytest.mark.anyio


def nested() -> FastAPI:
    inner = APIRouter(prefix="/things")

    @inner.get("/{thing_id}")
    async def thing(thing_id: str) -> str:
        return thing_id

    outer = APIRouter(prefix="/v1")
    outer.include_router(inner)
    app = FastAPI()
    app.include_router(outer, prefix="/api")
    app.mount("/tenants/{tenant}", Starlette(routes=[Route("/{page}", _page)]))
    return app


async def _page(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        pytest.param("/api/v1/things/7", "/api/v1/things/{thing_id}", id="nested routers"),
        pytest.param("/tenants/acme/home", "/tenants/{tenant}/{page}", id="a mount with a parameter"),
        pytest.param("/api/v1/things/7/", "unmatched", id="redirect"),
        pytest.param("/api/v1/things/a/b", "unmatched", id="not found"),
    ],
)
async def test_the_label_is_the_template(emitted: Emitted, path: str, route: str) -> None:
    """Prefixes of routers and mounts belong to it, without the values of their parameters."""
    app = nested()
    async with emitted.observe(app) as client:
        await client.get(path)

    assert route == emitted.finished()["route"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        pytest.param("/proxy/api/v1/things/7", "/api/v1/things/{thing_id}", id="nested routers"),
        pytest.param("/proxy/pages/home", "/pages/{page}", id="a mount"),
        pytest.param("/proxy/nothing", "unmatched", id="not found"),
    ],
)
@pytest.mark.parametrize("told_by", ["server", "application"])
async def test_a_proxys_prefix_is_not_in_the_label(emitted: Emitted, path: str, route: str, told_by: str) -> None:
    """`--root-path`, or FastAPI's own argument, is how the world sees the service; OpenAPI's paths are without it."""
    app = nested()
    app.root_path = "/proxy" if told_by == "application" else ""
    app.mount("/pages", Starlette(routes=[Route("/{page}", _page)]))
    root_path = "/proxy" if told_by == "server" else ""
    async with emitted.observe(app, root_path) as client:
        await client.get(path)

    assert route == emitted.finished()["route"]


async def test_a_proxys_prefix_is_not_in_the_path_of_a_raw_application(emitted: Emitted) -> None:
    """Without a router the path itself is looked up, as it is behind the proxy."""
    async with emitted.observe(_raw, "/proxy", routes={"/home"}) as client:
        await client.get("/proxy/home")

    assert "/home" == emitted.finished()["route"]


async def test_what_stands_around_it_is_not_in_the_label(emitted: Emitted) -> None:
    """An observed application may be mounted itself: its templates are its own."""
    app = nested()
    app.mount("/pages", Starlette(routes=[Route("/{page}", _page)]))
    observed = emitted.wrap(app)
    transport = httpx2.ASGITransport(Starlette(routes=[Mount("/outside", observed)]))
    async with httpx2.AsyncClient(transport=transport, base_url="http://tested") as client:
        await client.get("/outside/api/v1/things/7")
        await client.get("/outside/pages/home")

    routes = [line["route"] for line in emitted.lines(lambda line: line.get("event") == "request.finished")]
    assert ["/api/v1/things/{thing_id}", "/pages/{page}"] == routes


async def _raw(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


async def test_a_head_is_a_known_method(emitted: Emitted) -> None:
    """In the line and in the metric, and its response has the id although it has no body."""
    async with emitted.observe(_raw, routes={"/home"}) as client:
        response = await client.head("/home", headers={"X-Request-ID": "asked"})

    assert ["asked"] == response.headers.get_list("x-trace-id")
    assert "HEAD" == emitted.finished()["method"]
    assert emitted.value("http_request_duration_seconds_count", method="HEAD", route="/home", status="200") == 1


async def test_starlette_names_its_templates_itself(emitted: Emitted) -> None:
    """Without OpenAPI the templates are given by hand; a mount's prefix belongs to them."""
    app = Starlette(routes=[Mount("/pages", routes=[Route("/{page}", _page)])])
    async with emitted.observe(app) as client:
        await client.get("/pages/home")

    assert "/pages/{page}" == emitted.finished()["route"]


async def test_random_paths_make_one_series(emitted: Emitted) -> None:
    """A scanner on the loose does not fill the memory."""
    app = nested()
    async with emitted.observe(app) as client:
        for number in range(200):
            await client.get(f"/{number}/made/up")

    assert 200 == emitted.value("http_request_duration_seconds_count", method="OTHER", route="unmatched", status="404")
