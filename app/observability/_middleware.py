"""Pure ASGI around the *finished* application: one identity in, one event out, for every request.

Outside everything, so that the 404, the 422 and the unhandled 500 carry the id, too.
"""

from ._asgi import ASGIApp, Receive, Scope, Send
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
        """Serve one ASGI connection."""
        kind = scope["type"]
        if kind == "http":
            self._observer.heartbeat.watch()
            await Exchange(self._observer, scope, receive, send).run(self._app)
        elif kind == "websocket":
            await WebSocket(self._observer, scope, receive, send).run(self._app)
        elif kind == "lifespan":
            await observe_lifespan(self._app, self._observer, scope, receive, send)
        else:
            await self._app(scope, receive, send)
