"""Pure ASGI around the *finished* application: one identity in, one event out, for every request.

Outside everything, so that the 404, the 422 and the unhandled 500 carry the id, too.
"""

from ._asgi import ASGIApp, Receive, Scope, Send
from ._context import RequestContext, enter_request, leave_request
from ._exchange import Exchange, Observer
from ._identity import identify


class ObservedApp:
    """An ASGI application whose requests are identified, timed and told of."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        """Wrap `app`, which should be the finished application."""
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; anything but `http` passes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = RequestContext(identify(scope["headers"], self._observer.reject_id))
        exchange = Exchange(self._observer, context, scope, receive, send)
        token = enter_request(context)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BaseException as exc:
            await exchange.failed(exc)
            raise
        finally:
            exchange.finish()
            leave_request(token)
