"""The base class of all users: its client sends a trace id and a request id with every request."""

import random
from time import perf_counter
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser
from locust.contrib.fasthttp import FastHttpSession, ResponseContextManager, insecure_ssl_context_factory
from locust.env import Environment

from loadtest.connections import RenewedConnections
from loadtest.ids import RequestIds, new_run
from triage.urls import split_credentials

_PERIOD = 1.0  # seconds


class TracedSession(FastHttpSession):
    """Locust's HTTP client with an id for every request, which listeners find in the request's context."""

    in_flight: ClassVar[int] = 0

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> ResponseContextManager:  # noqa: ANN401 - as in the base class
        """Send a request. Redirects are not followed by default: a second request would repeat the id."""
        ids = ApiUser.request_ids.headers()
        context = {
            "request_id": ids["X-Request-ID"],
            "trace_id": ids["traceparent"].split("-")[1],
            **(kwargs.pop("context", None) or {}),
        }
        headers = {**ids, **(kwargs.pop("headers", None) or {})}
        options = {"allow_redirects": False, **kwargs, "headers": headers, "context": context}
        TracedSession.in_flight += 1
        try:
            response = super().request(method, url, *args, **options)
        finally:
            TracedSession.in_flight -= 1
        if not response.status_code:
            self.client.close()  # the next request may go to another replica
        return response


class ApiUser(FastHttpUser):
    """A user who starts one task per second, so that the number of users is the request rate."""

    abstract = True
    request_ids: ClassVar[RequestIds] = RequestIds(new_run())
    connection_seconds: float = 30.0
    """How long a connection is kept at most. The next one may be to another replica."""
    target: ClassVar[str] = ""
    """The host with its user name and password. They are not in `host`, because Locust shows and records that."""
    late_ms: float = 0.0
    """How much later than planned the current task started; set by the open loop."""

    def __init__(self, environment: Environment) -> None:
        """Give the user a client that sends ids."""
        super().__init__(environment)
        self.client: FastHttpSession = TracedSession(
            self.url_of(self.host or ""),
            environment.events.request,
            self,
            network_timeout=self.network_timeout,
            connection_timeout=self.connection_timeout,
            insecure=self.insecure,
            headers=self.default_headers,
            client_pool=RenewedConnections(
                self.connection_seconds,
                network_timeout=self.network_timeout,
                connection_timeout=self.connection_timeout,
                insecure=self.insecure,
                ssl_context_factory=insecure_ssl_context_factory if self.insecure else None,
            ),
        )
        self._next_task = 0.0

    @classmethod
    def url_of(cls, host: str) -> str:
        """Return the URL for requests to `host`: with a user name and password, if `target` has them for this host."""
        return cls.target if split_credentials(cls.target)[0].rstrip("/") == host.rstrip("/") else host

    def context(self) -> dict[str, float]:
        """Return what Locust adds to the context of every request."""
        late_ms, self.late_ms = self.late_ms, 0.0  # only the first request of a task is late
        return {"late_ms": late_ms}

    def on_start(self) -> None:
        """Wait for a random part of the period: users who start together would otherwise send at the same moments."""
        pause = random.random() * _PERIOD
        self._next_task = perf_counter() + pause
        gevent.sleep(pause)

    def wait_time(self) -> float:
        """Return the time until the next task. Locust's `constant_pacing` would undo the random start."""
        now = perf_counter()
        self._next_task = max(self._next_task + _PERIOD, now)
        return self._next_task - now
