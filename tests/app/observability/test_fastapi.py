"""ObservedFastAPI is a FastAPI application that is observed, also inside of others and with others inside of it."""

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
    """A body."""

    name: str


@pytest.fixture
def logs() -> Iterator[Captured]:
    """Capture the lines of a test."""
    with capture_logs() as captured:
        yield captured


def make() -> ObservedFastAPI:
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
    """Return a client that sees a 500 as a response."""
    return TestClient(app, raise_server_exceptions=False)


def finished(logs: Captured) -> Line:
    (line,) = logs.lines(event="request.finished")
    return line


def add_http_middleware(app: FastAPI) -> None:
    @app.middleware("http")
    async def pass_through(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_a_body_passes_an_http_middleware(logs: Captured, *, mounted: bool, inside: bool) -> None:
    """A JSON body reaches the handler behind `@app.middleware("http")`, of the application and of the one around it."""
    app = make()
    outer = FastAPI()
    add_http_middleware(app if inside else outer)
    outer.mount("/shop" if mounted else "", app)
    response = client_of(outer).post("/shop/things" if mounted else "/things", json={"name": "mug"})

    assert (200, "mug") == (response.status_code, response.json())
    assert ("/things", 200) == (finished(logs)["route"], finished(logs)["status"])
    assert finished(logs)["trace_id"] == response.headers["x-trace-id"]


def test_a_nested_observed_application_logs_each_request_once(logs: Captured) -> None:
    """The outermost one does; both, and the response, have one id."""
    outer = make()
    outer.mount("/inner", ObservabilityMiddleware(make()))
    response = client_of(outer).post("/inner/things", json={"name": "mug"})

    assert [response.headers["x-trace-id"]] == response.headers.get_list("x-trace-id")
    assert "/inner/things" == finished(logs)["route"]


def test_a_sub_application_has_its_template(logs: Captured) -> None:
    """The label is the path of the mount and the template of the route in it."""
    app, inner = make(), FastAPI()
    inner.add_api_route("/pages/{page}", lambda page: page)
    app.mount("/inner", inner)
    client_of(app).get("/inner/pages/home")

    assert "/inner/pages/{page}" == finished(logs)["route"]


def test_a_plain_route_of_starlette_has_its_template(logs: Captured) -> None:
    """FastAPI's own pages are such routes, too."""
    app = make()

    async def page(_: Request) -> Response:
        return Response()

    app.add_route("/pages/{page}", page)
    client_of(app).get("/pages/home")

    assert "/pages/{page}" == finished(logs)["route"]


@pytest.mark.parametrize("hidden", [True, False])
def test_late_and_hidden_routes_have_their_templates(logs: Captured, *, hidden: bool) -> None:
    """A route that is added after the first request, or that OpenAPI does not list, is no `unmatched` one."""
    app = make()
    client = client_of(app)
    client.get("/nothing")
    app.add_api_route("/late/{number}", lambda number: number, include_in_schema=not hidden)
    client.get("/late/7")

    assert ["unmatched", "/late/{number}"] == [line["route"] for line in logs.lines(event="request.finished")]


def test_an_application_without_a_schema_starts(logs: Captured) -> None:
    """Where OpenAPI cannot describe a type, only `/openapi.json` fails."""
    app = make()

    class Thing:
        pass

    @app.get("/things/{number}", response_model=None)
    async def get(number: Annotated[int, WithJsonSchema(Thing())]) -> int:
        return number

    with client_of(app) as client:
        assert 500 == client.get("/openapi.json").status_code
        assert 200 == client.get("/things/7").status_code

    assert ["/openapi.json", "/things/{number}"] == [line["route"] for line in logs.lines(event="request.finished")]


def test_a_client_for_tests_runs_the_lifespan(logs: Captured) -> None:
    """`with TestClient(app)` starts and stops the service."""
    with client_of(make()):
        pass

    assert ["service.started", "service.stopped"] == [line["event"] for line in logs.lines() if "event" in line]


def test_a_client_for_tests_raises_what_was_not_handled(logs: Captured) -> None:
    """It is an error of the test unless it is switched off, as for every FastAPI application."""
    with pytest.raises(ValueError, match="out of stock"):
        TestClient(make()).get("/failure")

    assert 1 == len(logs.lines(event="request.failed"))


def test_dependencies_can_be_overridden(logs: Captured) -> None:
    """It still is a FastAPI application."""
    app = make()

    def stock() -> int:
        raise HTTPException(503)

    @app.get("/stock")
    async def get_stock(number: Annotated[int, Depends(stock)]) -> int:
        return number

    app.dependency_overrides[stock] = lambda: 7
    response = client_of(app).get("/stock")

    assert (200, 7) == (response.status_code, response.json())
    assert 200 == finished(logs)["status"]


@pytest.mark.parametrize("key", [Exception, 500])
def test_a_handler_for_unhandled_errors_gets_the_id(logs: Captured, key: int | type[Exception]) -> None:
    """Its response has the id, and the error is logged once."""
    app = make()

    async def apologise(_request: Request, _exc: Exception) -> JSONResponse:
        return JSONResponse({"detail": "sorry"}, 500)

    app.add_exception_handler(key, apologise)
    response = client_of(app).get("/failure")
    (failed,) = logs.lines(event="request.failed")

    assert (500, {"detail": "sorry"}) == (response.status_code, response.json())
    assert response.headers["x-trace-id"] == failed["trace_id"] == finished(logs)["trace_id"]
