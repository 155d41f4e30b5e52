"""A server with canned responses, for situations that real servers cannot be brought into."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_plus


class FakeServer:
    """Responses by path, each a status and a body, and the requests that were received."""

    def __init__(self) -> None:
        """Respond to everything with 404."""
        self.responses: dict[str, tuple[int, str]] = {}
        self.gets: list[str] = []
        self.authorizations: list[str | None] = []
        self.posts: list[tuple[str, str]] = []
        self.url = ""

    def environment(self) -> dict[str, str]:
        """Return the addresses of the stack's five servers, which are all this one, each under a path."""
        return {
            f"{part}_URL": f"{self.url}/{part.lower()}" for part in ("API", "PROMETHEUS", "LOKI", "ALLOY", "GRAFANA")
        }


@contextmanager
def fake_server(context: ssl.SSLContext | None = None) -> Iterator[FakeServer]:
    """Start a fake server on the loopback interface, with TLS if there is a context."""
    fake = FakeServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.gets.append(unquote_plus(self.path))
            fake.authorizations.append(self.headers["Authorization"])
            self._respond()

        def do_POST(self) -> None:
            fake.posts.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self._respond()

        def _respond(self) -> None:
            status, body = fake.responses.get(self.path.partition("?")[0], (404, ""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(
            target=server.serve_forever, args=(0.01,), daemon=True
        ).start()  # a short poll interval, so that the shutdown is fast
        yield fake
        server.shutdown()
