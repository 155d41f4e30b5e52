"""How much a client may send: more headers are a 431, a longer body is a 413."""

from http import HTTPStatus

from fastapi import FastAPI, Response
from starlette.types import Message, Receive, Scope, Send

from app.problems import problem


class Limited:
    """An application with limits: it counts headers, which the server does not; bodies FastAPI counts itself.

    It stands inside of what observes the application, so that what it refuses has an id, a line and an observation.
    """

    def __init__(self, api: FastAPI, max_header_bytes: int) -> None:
        """Guard `api`, whose `max_body_size` is the other limit."""
        self._api = api
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; anything but `http` passes untouched."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > self._max_header_bytes:
            await self._too_many_headers()(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def send_ours(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                # On routes that read no body, FastAPI's own 413 is plain text and passes every handler.
                refused = True
                await self._too_long_a_body()(scope, receive, send)
            elif not refused:
                await send(message)

        await self._api(scope, receive, send_ours)

    def _too_many_headers(self) -> Response:
        detail = f"More than {self._max_header_bytes} bytes of headers."
        return problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail, _CLOSE)

    def _too_long_a_body(self) -> Response:
        detail = f"A body of more than {self._api.max_body_size} bytes."
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, _CLOSE)


# What is not read of a body would be taken for the connection's next request.
_CLOSE = {"Connection": "close"}
