"""Connections that are renewed, so that new replicas of a service get requests from users who are already running."""

import random
from time import perf_counter
from typing import Any

import gevent.socket
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.url import URL

# Not the generator that --seed seeds.
_random = random.Random()


class RenewedConnections(HTTPClientPool):
    """The connections of one user, each to one of the addresses of its host.

    The resolver sorts addresses, so the first one would always be the same replica.
    """

    def __init__(self, seconds: float, **options: Any) -> None:  # noqa: ANN401 - as in the base class
        """Renew connections after between half of and all of these `seconds`."""
        super().__init__(**options)
        self._seconds = seconds
        self._renew_at = 0.0

    def get_client(self, url: str | URL) -> HTTPClient:
        """Return the connection to the host of `url`."""
        url = url if isinstance(url, URL) else URL(url)
        if perf_counter() >= self._renew_at:
            self.close()
            self._renew_at = perf_counter() + self._seconds * _random.uniform(0.5, 1)
        # With TLS the name is needed for the certificate.
        if url.scheme == "http" and (url.host, url.port) not in self.clients:
            addresses = gevent.socket.getaddrinfo(url.host, url.port, type=gevent.socket.SOCK_STREAM)
            address = str(_random.choice(addresses)[4][0])
            host = url.netloc.rpartition("@")[2]
            self.clients[url.host, url.port] = HTTPClient(
                address, url.port, **{**self.client_args, "headers": {"Host": host}}
            )
        return super().get_client(url)
