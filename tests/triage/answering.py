"""Servers that answer what a test says, for what real ones cannot be made to say."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_plus


class Answering:
    """The answers by path, each a status and a body, and what was asked and sent."""

    def __init__(self) -> None:
        """Know nothing, and say 404."""
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.posted: list[tuple[str, str]] = []
        self.url = ""

    def environment(self) -> dict[str, str]:
        """Return the addresses of the five servers that this one stands for, each under its own path."""
        return {
            f"{part}_URL": f"{self.url}/{part.lower()}" for part in ("API", "PROMETHEUS", "LOKI", "ALLOY", "GRAFANA")
        }


@contextmanager
def answering() -> Iterator[Answering]:
    """Answer on loopback."""
    told = Answering()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(unquote_plus(self.path))
            self._answer()

        def do_POST(self) -> None:
            told.posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self._answer()

        def _answer(self) -> None:
            status, body = told.answers.get(self.path.partition("?")[0], (404, ""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told
        server.shutdown()
