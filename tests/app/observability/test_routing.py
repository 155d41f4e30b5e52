"""The route label is the template of the route in OpenAPI, and never what a client sends."""

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.app.observability.apps import plain_asgi
from tests.emitted import Emitted

pytestmark = pytest.mark.anyio


async def page(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def nested_app() -> FastAPI:
    """Create an application with a router in a router, and two mounts."""
    inner = APIRouter(prefix="/things")

    @inner.get("/{thing_id}")
    async def get_thing(thing_id: str) -> str:
        return thing_id

    outer = APIRouter(prefix="/v1")
    outer.include_router(inner)
    app = FastAPI()
    app.include_router(outer, prefix="/api")
    app.mount("/tenants/{tenant}", Starlette(routes=[Route("/{page}", page)]))
    app.mount("/pages", Starlette(routes=[Route("/{page}", page)]))
    return app


@pytest.mark.parametrize(
    ("path", "route"),
    [
        pytest.param("/api/v1/things/7", "/api/v1/things/{thing_id}", id="nested routers"),
        pytest.param("/tenants/acme/home", "/tenants/{tenant}/{page}", id="mount with a parameter"),
        pytest.param("/api/v1/things/7/", "unmatched", id="redirect"),
        pytest.param("/api/v1/things/a/b", "unmatched", id="not found"),
    ],
)
async def test_the_label_is_the_template(emitted: Emitted, path: str, route: str) -> None:
    """It contains the prefixes of routers and mounts, and no values of parameters."""
    async with emitted.observe(nested_app()) as client:
        await client.get(path)

    assert route == emitted.finished()["route"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        pytest.param("/proxy/api/v1/things/7", "/api/v1/things/{thing_id}", id="nested routers"),
        pytest.param("/proxy/pages/home", "/pages/{page}", id="mount"),
        pytest.param("/proxy/nothing", "unmatched", id="not found"),
    ],
)
@pytest.mark.parametrize("option", ["uvicorn --root-path", "FastAPI.root_path"])
async def test_the_label_does_not_contain_the_prefix_of_a_proxy(
    emitted: Emitted, path: str, route: str, option: str
) -> None:
    """The paths in OpenAPI do not contain it either."""
    app = nested_app()
    app.root_path = "/proxy" if "FastAPI" in option else ""
    async with emitted.observe(app, "/proxy" if "uvicorn" in option else "") as client:
        await client.get(path)

    assert route == emitted.finished()["route"]


async def test_a_listed_path_does_not_contain_the_prefix_of_a_proxy(emitted: Emitted) -> None:
    """This is for applications without Starlette's routes."""
    async with emitted.observe(plain_asgi, "/proxy", routes={"/home"}) as client:
        await client.get("/proxy/home")

    assert "/home" == emitted.finished()["route"]


async def test_the_label_does_not_contain_the_path_of_an_outer_mount(emitted: Emitted) -> None:
    """The instrumented application may be mounted in another one."""
    transport = httpx2.ASGITransport(Starlette(routes=[Mount("/outer", emitted.wrap(nested_app()))]))
    async with httpx2.AsyncClient(transport=transport, base_url="http://tested") as client:
        await client.get("/outer/api/v1/things/7")
        await client.get("/outer/pages/home")

    routes = [line["route"] for line in emitted.lines(lambda line: line.get("event") == "request.finished")]
    assert ["/api/v1/things/{thing_id}", "/pages/{page}"] == routes


async def test_starlette_without_fastapi(emitted: Emitted) -> None:
    """The template contains the path of the mount."""
    app = Starlette(routes=[Mount("/pages", routes=[Route("/{page}", page)])])
    async with emitted.observe(app) as client:
        await client.get("/pages/home")

    assert "/pages/{page}" == emitted.finished()["route"]


async def test_unknown_paths_share_one_series(emitted: Emitted) -> None:
    """So that a client cannot create series."""
    async with emitted.observe(nested_app()) as client:
        for number in range(50):
            await client.get(f"/{number}/unknown")

    assert 50 == emitted.value("http_request_duration_seconds_count", method="OTHER", route="unmatched", status="404")
