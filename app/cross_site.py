"""Protection against web pages of other sites: the headers `Host` and `Origin`."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import problem
from app.health import PROBES
from app.limits import CLOSE

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class CrossSiteMiddleware:
    """Refuse requests that a web page of another site can make a browser send.

    Such a page can send requests to loopback addresses, too. Its browser adds the page's address as `Origin`, which has
    to be the address of the service (CSRF). If the page's name resolves to a loopback address, both are the same, but
    the name is in `Host` (DNS rebinding). Probes are not checked, because they come from machines that use other names.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        """Wrap `app`; `allowed_hosts` are the names in `Host` besides those of the loopback interface."""
        self._app = app
        self._allowed_hosts = [*_LOOPBACK, *allowed_hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return

        async def check_origin(scope: Scope, receive: Receive, _: Send) -> None:
            await self._check_origin(scope, receive, send)

        async def refuse(message: Message) -> None:
            # Starlette's response is plain text, and does not name the setting.
            if message["type"] == "http.response.start":
                detail = "The Host header is not a name of this service. ALLOWED_HOSTS can add it."
                await problem(HTTPStatus.BAD_REQUEST, detail, CLOSE)(scope, receive, send)

        await TrustedHostMiddleware(check_origin, self._allowed_hosts, www_redirect=False)(scope, receive, refuse)

    async def _check_origin(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        # Only browsers send an origin. Its scheme is ignored, because a proxy may serve https.
        if scope["method"] in _SAFE_METHODS or origin is None or _host(origin) == headers["host"].lower():
            await self._app(scope, receive, send)
        else:
            detail = "The request comes from a web page of another site."
            await problem(HTTPStatus.FORBIDDEN, detail, CLOSE)(scope, receive, send)


def _host(origin: str) -> str:
    return origin.partition("://")[2].lower()
