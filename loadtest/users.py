"""Who makes the load. Each user does one thing a second, so the number of users is the rate."""

import itertools
import random
from collections.abc import Iterator
from time import perf_counter
from typing import ClassVar

import gevent
from locust import FastHttpUser, task

from loadtest.ids import RequestIds, new_run
from loadtest.population import KNOWN_USERS

_PERIOD = 1.0  # seconds from one request of a user to the next
_SKUS = ("sticker", "mug", "shirt", "poster")


class LoadUser(FastHttpUser):
    """What all have in common: a pace, choices, and ids on every request."""

    abstract = True
    ids: ClassVar[RequestIds] = RequestIds(new_run())
    seed: ClassVar[int | None] = None
    numbers: ClassVar[Iterator[int]] = itertools.count(1)

    def on_start(self) -> None:
        """Begin at a moment of one's own: users who begin together would ask together, each second."""
        # Choices of one's own, too: whose turn is next depends on how fast the service answers.
        number = next(LoadUser.numbers)
        self.chance = random.Random() if self.seed is None else random.Random(f"{self.seed}-{number}")
        pause = self.chance.random() * _PERIOD
        self._due = perf_counter() + pause
        gevent.sleep(pause)

    def wait_time(self) -> float:
        """Wait until it is time again; whoever was kept waiting longer than that asks at once."""
        now = perf_counter()
        self._due = max(self._due + _PERIOD, now)
        return self._due - now

    def ask(self, method: str, path: str, name: str, body: dict[str, object] | None = None) -> None:
        """Send one request with ids of its own; `name` groups it in Locust's tables by its route."""
        headers = self.ids.headers()
        context = {
            "request_id": headers["X-Request-ID"],
            "trace_id": headers["traceparent"].split("-")[1],
            "route": name.partition("?")[0],
        }
        self.client.request(method, path, name=name, json=body, headers=headers, context=context, allow_redirects=False)


class Browse(LoadUser):
    """Looks at users, mostly at one."""

    weight = 6

    @task
    def browse(self) -> None:
        """Get a user, or list some."""
        if self.chance.random() < 0.8:  # noqa: PLR2004 - mostly
            self.ask("GET", f"/users/{self.chance.choice(KNOWN_USERS)}", "/users/{user_id}")
        else:
            self.ask("GET", f"/users?limit=20&offset={self.chance.randrange(0, 180, 20)}", "/users")


class Buy(LoadUser):
    """Places orders."""

    weight = 3

    @task
    def place_order(self) -> None:
        """Buy something."""
        user_id, sku = self.chance.choice(KNOWN_USERS), self.chance.choice(_SKUS)
        order = {"user_id": user_id, "sku": sku, "quantity": self.chance.randint(1, 3)}
        self.ask("POST", "/orders", "/orders", order)


class Report(LoadUser):
    """Reads the orders of a user."""

    weight = 1

    @task
    def read_orders(self) -> None:
        """List a user's orders."""
        self.ask("GET", f"/orders?user_id={self.chance.choice(KNOWN_USERS)}&limit=50", "/orders?user_id")
