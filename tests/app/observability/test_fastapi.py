"""ObservedFastAPI works like FastAPI, also if it is mounted in another application or has mounts itself."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, WithJsonSchema
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response

from app.observability import ObservabilityMiddleware
from app.observability.fastapi import ObservedFastAPI
from app.observability.testing import Captured, Line, capture_logs


class Thing(BaseModel):
    """A request body."""

    name: str


@pytest.fixture
def logs() -> Iterator[Captured]:
    """Capture the log lines of a test."""
    with capture_logs() as captured:
        yield captured


def make_app() -> ObservedFastAPI:
    app = ObservedFastAPI(observability=partial(ObservabilityMiddleware, registry=CollectorRegistry()))

    @app.post("/things")
    async def create(thing: Thing) -> str:
        return thing.name

    @app.get("/failure")
    async def fail() -> None:
        msg = "out of stock"
        raise ValueError(msg)

    return app


def client_of(app: FastAPI) -> TestClient:
    """Return a client that does not raise the exceptions of the application."""
    return TestClient(app, raise_server_exceptions=False)


def finished_line(logs: Captured) -> Line:
    (line,) = logs.lines(event="request.finished")
    return line


def add_http_middleware(app: FastAPI) -> None:
    @app.middleware("http")
    async def pass_through(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_http_middleware_does_not_consume_the_body(logs: Captured, *, mounted: bool, inside: bool) -> None:
    """With `@app.middleware("http")` on this application, or on the one in which it is mounted."""
    app = make_app()
    outer = FastAPI()
    add_http_middleware(app if inside else outer)
    outer.mount("/shop" if mounted else "", app)
    response = client_of(outer).post("/shop/things" if mounted else "/things", json={"name": "mug"})

    assert (200, "mug") == (response.status_code, response.json())
    assert ("/things", 200) == (finished_line(logs)["route"], finished_line(logs)["status"])
    assert finished_line(logs)["trace_id"] == response.headers["x-trace-id"]


def test_nested_instrumented_applications_log_a_request_once(logs: Captured) -> None:
    """The outermost one logs it, with its own path in the route."""
    outer = make_app()
    outer.mount("/inner", ObservabilityMiddleware(make_app()))
    response = client_of(outer).post("/inner/things", json={"name": "mug"})

    assert [response.headers["x-trace-id"]] == response.headers.get_list("x-trace-id")
    assert "/inner/things" == finished_line(logs)["route"]


def test_the_route_in_a_mounted_application(logs: Captured) -> None:
    """It is the path of the mount and the template of the inner route."""
    app, inner = make_app(), FastAPI()
    inner.add_api_route("/pages/{page}", lambda page: page)
    app.mount("/inner", inner)
    client_of(app).get("/inner/pages/home")

    assert "/inner/pages/{page}" == finished_line(logs)["route"]


def test_the_route_of_a_starlette_route(logs: Captured) -> None:
    """Such as those of FastAPI's documentation pages."""
    app = make_app()

    async def page(_: Request) -> Response:
        return Response()

    app.add_route("/pages/{page}", page)
    client_of(app).get("/pages/home")

    assert "/pages/{page}" == finished_line(logs)["route"]


@pytest.mark.parametrize("hidden", [True, False])
def test_the_route_of_a_path_operation_that_is_added_later(logs: Captured, *, hidden: bool) -> None:
    """It is not `unmatched`, also if OpenAPI does not list it."""
    app = make_app()
    client = client_of(app)
    client.get("/nothing")
    app.add_api_route("/late/{number}", lambda number: number, include_in_schema=not hidden)
    client.get("/late/7")

    assert ["unmatched", "/late/{number}"] == [line["route"] for line in logs.lines(event="request.finished")]


def test_a_broken_openapi_schema_does_not_affect_other_routes(logs: Captured) -> None:
    """Only `/openapi.json` fails if OpenAPI cannot describe a type."""
    app = make_app()

    class Thing:
        pass

    @app.get("/things/{number}", response_model=None)
    async def get(number: Annotated[int, WithJsonSchema(Thing())]) -> int:
        return number

    with client_of(app) as client:
        assert 500 == client.get("/openapi.json").status_code
        assert 200 == client.get("/things/7").status_code

    assert ["/openapi.json", "/things/{number}"] == [line["route"] for line in logs.lines(event="request.finished")]


def test_test_client_runs_the_lifespan(logs: Captured) -> None:
    """Its start and stop are logged."""
    with client_of(make_app()):
        pass

    assert ["service.started", "service.stopped"] == [line["event"] for line in logs.lines() if "event" in line]


def test_test_client_raises_unhandled_exceptions(logs: Captured) -> None:
    """This is the default for all FastAPI applications; the exception is logged, too."""
    with pytest.raises(ValueError, match="out of stock"):
        TestClient(make_app()).get("/failure")

    assert 1 == len(logs.lines(event="request.failed"))


def test_dependencies_can_be_overridden(logs: Captured) -> None:
    """`app.dependency_overrides` works."""
    app = make_app()

    def stock() -> int:
        raise HTTPException(503)

    @app.get("/stock")
    async def get_stock(number: Annotated[int, Depends(stock)]) -> int:
        return number

    app.dependency_overrides[stock] = lambda: 7
    response = client_of(app).get("/stock")

    assert (200, 7) == (response.status_code, response.json())
    assert 200 == finished_line(logs)["status"]


@pytest.mark.parametrize("key", [Exception, 500])
def test_a_handler_for_unhandled_exceptions(logs: Captured, key: int | type[Exception]) -> None:
    """Its response has the trace id, and the exception is logged once."""
    app = make_app()

    async def handle(_request: Request, _exc: Exception) -> JSONResponse:
        return JSONResponse({"detail": "sorry"}, 500)

    app.add_exception_handler(key, handle)
    response = client_of(app).get("/failure")
    (failed,) = logs.lines(event="request.failed")

    assert (500, {"detail": "sorry"}) == (response.status_code, response.json())
    assert response.headers["x-trace-id"] == failed["trace_id"] == finished_line(logs)["trace_id"]
