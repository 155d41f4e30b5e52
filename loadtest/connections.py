"""Connections that are renewed, so that new replicas of a service get requests from users who are already running."""

import random
from contextlib import suppress
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
        self._connection_timeout: float | None = options.get("connection_timeout")
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
            address = self._choose_address(url.host, url.port)
            host = url.netloc.rpartition("@")[2]
            self.clients[url.host, url.port] = HTTPClient(
                address, url.port, **{**self.client_args, "headers": {"Host": host}}
            )
        return super().get_client(url)

    def _choose_address(self, host: str, port: int | None) -> str:
        """Return a random address that accepts connections; any one, if none does.

        The DNS of Docker returns the address of a container that has just started and does not listen yet.
        """
        found = gevent.socket.getaddrinfo(host, port, type=gevent.socket.SOCK_STREAM)
        addresses = [(str(each[4][0]), int(each[4][1])) for each in _random.sample(found, len(found))]
        for address in addresses[:-1]:
            with suppress(OSError), gevent.socket.create_connection(address, self._connection_timeout):
                return address[0]
        return addresses[-1][0]
