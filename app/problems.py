"""Errors as RFC 9457 problem details: what went wrong, the trace id to look it up by, and no internals."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from app.observability import current_trace, record_exception

MEDIA_TYPE = "application/problem+json"


class ServiceError(Exception):
    """An error of this service's own: its text was written here, so that clients and logs may read it."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class InvalidError(ServiceError):
    """It is well formed, and makes no sense."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class ForbiddenError(ServiceError):
    """It is not to be done this way."""

    status = HTTPStatus.FORBIDDEN


class NotFoundError(ServiceError):
    """There is no such thing."""

    status = HTTPStatus.NOT_FOUND


class ConflictError(ServiceError):
    """It cannot be done to things as they are."""

    status = HTTPStatus.CONFLICT


class UnavailableError(ServiceError):
    """Something that the service needs does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Problem(BaseModel):
    """An error as clients see it."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    trace_id: str = Field(description="Find the log lines of this request by it.")


def problem(
    status: int, detail: str | None = None, headers: Mapping[str, str] | None = None, **more: object
) -> Response:
    """Return a problem response for the current request."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        trace_id=current_trace().trace_id,
        **more,  # type: ignore[arg-type]  # members beside the standard ones, by name
    )
    return Response(body.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


#: How every error response looks, for the OpenAPI description.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
}


def add_problem_handlers(api: FastAPI) -> None:
    """Answer every error of `api` with problem details; what is 5xx is recorded as the request's failure."""

    @api.exception_handler(HTTPException)
    async def _http(_: Request, exc: HTTPException) -> Response:
        if exc.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            record_exception(exc)
        detail = None if exc.detail == HTTPStatus(exc.status_code).phrase else exc.detail
        return problem(exc.status_code, detail, exc.headers)

    @api.exception_handler(RequestValidationError)
    async def _invalid(_: Request, exc: RequestValidationError) -> Response:
        errors = [{"loc": error["loc"], "msg": error["msg"], "type": error["type"]} for error in exc.errors()]
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request does not fit its description.", errors=errors)

    @api.exception_handler(ServiceError)
    async def _own(_: Request, exc: ServiceError) -> Response:
        if exc.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            record_exception(exc, str(exc))
        return problem(exc.status, str(exc))

    @api.exception_handler(Exception)
    async def _unhandled(_: Request, exc: Exception) -> Response:
        record_exception(exc)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The error is logged under this trace id.")
