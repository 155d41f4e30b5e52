"""Limits of requests that neither uvicorn nor FastAPI has: of headers, of JSON keys, and of the time for a body."""

import asyncio
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from starlette.types import Message, Receive, Scope, Send

from app.errors import problem
from app.settings import ServerSettings

#: The rest of the request is not read, so that the connection cannot be used again.
CLOSE = {"Connection": "close"}
#: More than any browser or proxy sends.
MAX_HEADERS = 100
# Parsed JSON needs up to 30 times the memory of its text, and parsing blocks the event loop. Bodies that are longer
# than those of ordinary requests take turns.
_LARGE_BODY_BYTES = 4096
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
    """Refuse requests that are too large or too slow.

    FastAPI counts the bytes of bodies (`max_body_size`), but its 413 is plain text on routes that read no body. uvicorn
    limits headers with h11 only, and responds without a trace id. This middleware goes inside of
    `ObservabilityMiddleware`, so that also refused requests are logged and observed. `app.connections` limits what has
    not become a request yet.
    """

    def __init__(self, api: FastAPI, settings: ServerSettings) -> None:
        """Wrap `api`."""
        self._api = api
        self._max_header_bytes = settings.max_header_bytes
        self._client_timeout = settings.client_timeout
        self._large_body = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
        elif (detail := self._find_problem(scope)) is not None:
            response = problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail, CLOSE)
            await response(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    def _find_problem(self, scope: Scope) -> str | None:
        headers = scope["headers"]
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if size + sum(len(name) + len(value) for name, value in headers) > self._max_header_bytes:
            return f"The path, the query and the headers are longer than {self._max_header_bytes} bytes."
        if len(headers) > MAX_HEADERS:
            return f"There are more than {MAX_HEADERS} headers."
        return None

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        replaced = complete = False
        received = 0
        deadline = asyncio.get_running_loop().time() + self._client_timeout

        async def receive_in_time() -> Message:
            nonlocal complete, received
            if complete:  # the application waits for the client to leave
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                detail = f"The body did not arrive within {self._client_timeout:g} s."
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, detail, CLOSE) from None
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if complete and received > _LARGE_BODY_BYTES:
                return await wait_for_turn() or message
            return message

        async def wait_for_turn() -> Message | None:
            """Return `None` when the body may be parsed, or the message that the client has left."""
            entering = asyncio.ensure_future(turn.enter_async_context(self._large_body))
            leaving = asyncio.ensure_future(receive())
            try:
                await asyncio.wait((entering, leaving), return_when=asyncio.FIRST_COMPLETED)
                return leaving.result() if leaving.done() else None
            finally:
                entering.cancel()
                leaving.cancel()

        async def replace_413(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                replaced = True
                detail = f"The body is longer than {self._api.max_body_size} bytes."
                response = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, CLOSE)
                await response(scope, receive, send)
            elif not replaced:
                await send(message)

        async with AsyncExitStack() as turn:
            await self._api(scope, receive_in_time, replace_413)
