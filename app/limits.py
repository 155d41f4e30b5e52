"""Limits that neither uvicorn nor FastAPI has: the size of request headers, and problem details for a 413."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from starlette.types import Message, Receive, Scope, Send

from app.errors import problem

# The rest of the request is not read, so that the connection cannot be used again.
_CLOSE = {"Connection": "close"}
# Far more than any body has. An error for each of 100,000 unknown keys would block the event loop for seconds.
_MAX_KEYS = 50


class RequestBody(BaseModel):
    """A JSON object that a client sends."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _limit_keys(cls, data: Any) -> Any:  # noqa: ANN401 - any JSON
        if isinstance(data, dict) and len(data) > _MAX_KEYS:
            kind, message = "too_many_keys", "Object should have at most {limit} keys"
            raise PydanticCustomError(kind, message, {"limit": _MAX_KEYS})
        return data


class LimitsMiddleware:
    """Refuse requests that are too large.

    FastAPI counts the bytes of bodies (`max_body_size`), but its 413 is plain text on routes that read no body. uvicorn
    limits headers with h11 only, and responds without a trace id. This middleware goes inside of
    `ObservabilityMiddleware`, so that also refused requests are logged and observed.
    """

    def __init__(self, api: FastAPI, max_header_bytes: int) -> None:
        """Wrap `api`; `max_header_bytes` is for all names and values together."""
        self._api = api
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > self._max_header_bytes:
            detail = f"The headers are longer than {self._max_header_bytes} bytes."
            response = problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail, _CLOSE)
            await response(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        replaced = False

        async def replace_413(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                replaced = True
                detail = f"The body is longer than {self._api.max_body_size} bytes."
                response = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, _CLOSE)
                await response(scope, receive, send)
            elif not replaced:
                await send(message)

        await self._api(scope, receive, replace_413)
