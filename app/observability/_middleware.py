"""Pure ASGI around the *finished* application: one identity in, one event out, for every request.

Outside everything, so that the 404, the 422 and the unhandled 500 carry the id, too.
"""

from ._asgi import ASGIApp, Receive, Scope, Send
from ._context import enter_request, leave_request
from ._exchange import Exchange
from ._lifespan import observe_lifespan
from ._observer import Observer
from ._websocket import WebSocket


class ObservedApp:
    """An ASGI application whose requests are identified, timed and told of."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        """Wrap `app`, which should be the finished application."""
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; what the application raises goes on to the server."""
        kind = scope["type"]
        if kind != "http":
            await self._serve_other(kind, scope, receive, send)
            return
        exchange = Exchange(self._observer, scope, receive, send)
        token = enter_request(exchange.context)
        try:
            await self._app(scope, exchange.receive, exchange.send)
            if not exchange.finished:
                exchange.check_answered()
        except BaseException as exc:
            await exchange.fail(exc)
            raise
        finally:
            if not exchange.finished:
                exchange.finish()
            leave_request(token)

    async def _serve_other(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        if kind == "websocket":
            await WebSocket(self._observer, scope, receive, send).run(self._app)
        elif kind == "lifespan":
            await observe_lifespan(self._app, self._observer, scope, receive, send)
        else:
            await self._app(scope, receive, send)
