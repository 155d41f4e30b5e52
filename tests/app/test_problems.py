"""Errors as problem details, of an application that makes them all."""

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from app.problems import MEDIA_TYPE, ServiceError, add_problem_handlers
from tests.emitted import Emitted

pytestmark = pytest.mark.anyio


def failing(error: Exception) -> FastAPI:
    api = FastAPI()
    add_problem_handlers(api)

    @api.get("/")
    async def _fail() -> None:
        raise error

    return api


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        pytest.param(ServiceError("our words"), 500, "our words", id="own"),
        pytest.param(HTTPException(503, "our words"), 503, "our words", id="HTTPException"),
        pytest.param(ValueError("hunter2"), 500, "The error is logged under this trace id.", id="unhandled"),
    ],
)
async def test_what_is_answered_with_a_5xx_is_one_failure(
    emitted: Emitted, error: Exception, status: int, detail: str
) -> None:
    """Whoever raised it: a problem with the trace id, one failure by the same id, and nobody's else words."""
    async with emitted.observe(failing(error), routes={"/"}, own_errors=(ServiceError,)) as client:
        response = await client.get("/")

    assert (status, MEDIA_TYPE) == (response.status_code, response.headers["content-type"])
    assert (detail, emitted.failed()["trace_id"]) == (response.json()["detail"], response.json()["trace_id"])
    assert (status, "server_error", "warning") == (
        emitted.finished()["status"], emitted.finished()["outcome"], emitted.finished()["level"],
    )  # fmt: skip
    assert "hunter2" not in emitted.stream.getvalue() + response.text


async def test_what_is_answered_with_a_4xx_is_none(emitted: Emitted) -> None:
    """The client made it; it is in the line, at the level of all lines."""
    async with emitted.observe(failing(HTTPException(409)), routes={"/"}) as client:
        await client.get("/")

    assert ("client_error", "info") == (emitted.finished()["outcome"], emitted.finished()["level"])
    assert not emitted.lines(lambda line: line.get("event") == "request.failed")
