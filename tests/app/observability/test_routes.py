"""The route's label is the template that people read in OpenAPI, and nothing that a client can make up."""

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from app.observability import openapi_routes
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
        pytest.param("/tenants/acme/home", "unmatched", id="a mount's parameter is no template"),
        pytest.param("/api/v1/things/7/", "unmatched", id="redirect"),
        pytest.param("/api/v1/things/a/b", "unmatched", id="not found"),
    ],
)
async def test_the_label_is_the_template(emitted: Emitted, path: str, route: str) -> None:
    """Prefixes of included routers belong to it; what is not in OpenAPI is `unmatched`."""
    app = nested()
    async with emitted.observe(app, routes=openapi_routes(app)) as client:
        await client.get(path)

    assert route == emitted.finished()["route"]


async def test_starlette_names_its_templates_itself(emitted: Emitted) -> None:
    """Without OpenAPI the templates are given by hand; a mount's prefix belongs to them."""
    app = Starlette(routes=[Mount("/pages", routes=[Route("/{page}", _page)])])
    async with emitted.observe(app, routes={"/pages/{page}"}) as client:
        await client.get("/pages/home")

    assert "/pages/{page}" == emitted.finished()["route"]


async def test_random_paths_make_one_series(emitted: Emitted) -> None:
    """A scanner on the loose does not fill the memory."""
    app = nested()
    async with emitted.observe(app, routes=openapi_routes(app)) as client:
        for number in range(200):
            await client.get(f"/{number}/made/up")

    assert 200 == emitted.value("http_request_duration_seconds_count", method="OTHER", route="unmatched", status="404")
