"""Errors, and how clients see them: RFC 9457 problem details with the trace id and without internals."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from app.observability import current_trace, record_exception, route_template

MEDIA_TYPE = "application/problem+json"

# A client could have a body rejected for many reasons, and for keys of any length.
_MAX_ERRORS = 10
_MAX_TEXT = 100


class ServiceError(Exception):
    """An error with a message of our own, which is safe for log lines and responses."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class ForbiddenError(ServiceError):
    """The request is not allowed."""

    status = HTTPStatus.FORBIDDEN


class NotFoundError(ServiceError):
    """The resource does not exist."""

    status = HTTPStatus.NOT_FOUND


class ConflictError(ServiceError):
    """The request contradicts the current state."""

    status = HTTPStatus.CONFLICT


class UnavailableError(ServiceError):
    """A dependency of the service, such as its database, does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Problem(BaseModel):
    """The body of an error response."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    trace_id: str = Field(description="All log lines of this request have it.")


def problem(
    status: int, detail: str | None = None, headers: Mapping[str, str] | None = None, **extensions: object
) -> Response:
    """Return an error response to the current request."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        trace_id=current_trace().trace_id,
        **extensions,  # type: ignore[arg-type]  # pydantic's mypy plugin is not used, and these are not fields
    )
    return Response(body.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


#: The error responses in OpenAPI.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Error (RFC 9457 problem details).",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
}


def add_error_handlers(api: FastAPI) -> None:
    """Respond to all errors with problem details, and record those that become a 5xx as failures of the request."""

    @api.exception_handler(HTTPException)
    async def _http(request: Request, exc: HTTPException) -> Response:
        if exc.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            record_exception(exc)
        detail = None if exc.detail == HTTPStatus(exc.status_code).phrase else exc.detail
        headers = exc.headers
        if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Each method has its own route, and Starlette only returns the methods of the first one.
            methods = request.app.openapi()["paths"].get(route_template(request.scope))
            headers = {"Allow": ", ".join(methods).upper()} if methods else headers
        return problem(exc.status_code, detail, headers)

    @api.exception_handler(RequestValidationError)
    async def _invalid(_: Request, exc: RequestValidationError) -> Response:
        found = exc.errors()
        errors = [
            {
                "loc": [part if isinstance(part, int) else part[:_MAX_TEXT] for part in error["loc"]],
                "msg": error["msg"][:_MAX_TEXT],
                "type": error["type"],
            }
            for error in found[:_MAX_ERRORS]
        ]
        shown = f" These are the first {_MAX_ERRORS} of {len(found)} errors." if len(found) > _MAX_ERRORS else ""
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"The request is invalid.{shown}", errors=errors)

    @api.exception_handler(ServiceError)
    async def _service_error(_: Request, exc: ServiceError) -> Response:
        if exc.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            record_exception(exc, str(exc))
        return problem(exc.status, str(exc))

    @api.exception_handler(Exception)
    async def _unhandled(_: Request, exc: Exception) -> Response:
        record_exception(exc)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error. The log lines with this trace id explain it.")
