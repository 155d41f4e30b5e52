"""Error responses: problem details, and one `request.failed` line for each 5xx."""

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from app.errors import MEDIA_TYPE, ServiceError, add_error_handlers
from tests.emitted import Emitted

pytestmark = pytest.mark.anyio


def failing_app(error: Exception) -> FastAPI:
    api = FastAPI()
    add_error_handlers(api)

    @api.get("/")
    async def _fail() -> None:
        raise error

    return api


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        pytest.param(ServiceError("our message"), 500, "our message", id="ServiceError"),
        pytest.param(HTTPException(503, "our message"), 503, "our message", id="HTTPException"),
        pytest.param(
            ValueError("hunter2"), 500, "Internal error. The log lines with this trace id explain it.", id="unhandled"
        ),
    ],
)
async def test_a_5xx_is_logged_as_one_failure(emitted: Emitted, error: Exception, status: int, detail: str) -> None:
    """Response and line have the same trace id. Only the messages of our own exceptions are shown."""
    async with emitted.observe(failing_app(error), safe_exceptions=(ServiceError,)) as client:
        response = await client.get("/")

    assert (status, MEDIA_TYPE) == (response.status_code, response.headers["content-type"])
    assert (detail, emitted.failed()["trace_id"]) == (response.json()["detail"], response.json()["trace_id"])
    assert (status, "server_error", "warning") == (
        emitted.finished()["status"], emitted.finished()["outcome"], emitted.finished()["level"],
    )  # fmt: skip
    assert "hunter2" not in emitted.stream.getvalue() + response.text


async def test_a_4xx_is_not_a_failure(emitted: Emitted) -> None:
    """Its line has the level info, and there is no `request.failed` line."""
    async with emitted.observe(failing_app(HTTPException(409))) as client:
        await client.get("/")

    assert ("client_error", "info") == (emitted.finished()["outcome"], emitted.finished()["level"])
    assert not emitted.lines(lambda line: line.get("event") == "request.failed")
