"""How a request leaves: with ids of its own, and counted while it is on its way."""

from locust.contrib.fasthttp import FastHttpSession

from loadtest.ids import RequestIds
from loadtest.mix import Ask


class Sender:
    """Sends the requests of one run from one generator."""

    def __init__(self, ids: RequestIds) -> None:
        """Name them by `ids`."""
        self.ids = ids
        self.in_flight = 0

    def send(self, client: FastHttpSession, ask: Ask, late_ms: float = 0.0) -> None:
        """Send one request and wait for its answer; it was due `late_ms` ago."""
        headers = self.ids.headers()
        context = {
            "request_id": headers["X-Request-ID"],
            "trace_id": headers["traceparent"].split("-")[1],
            "route": ask.name.partition("?")[0],
            "late_ms": late_ms,
        }
        self.in_flight += 1
        try:
            client.request(
                ask.method, ask.path, ask.name,
                json=ask.body, headers=headers, context=context, allow_redirects=False,
            )  # fmt: skip
        finally:
            self.in_flight -= 1
