"""Who makes the load. Each user does one thing a second, so the number of users is the rate."""

import random
from typing import ClassVar

from locust import FastHttpUser, constant_throughput, task

from loadtest.ids import RequestIds, new_run
from loadtest.population import KNOWN_USERS

_SKUS = ("sticker", "mug", "shirt", "poster")


class LoadUser(FastHttpUser):
    """What all have in common: a pace, and ids on every request."""

    abstract = True
    wait_time = constant_throughput(1)
    ids: ClassVar[RequestIds] = RequestIds(new_run())

    def ask(self, method: str, path: str, name: str, body: dict[str, object] | None = None) -> None:
        """Send one request with ids of its own; `name` groups it in Locust's tables by its route."""
        self.client.request(method, path, name=name, json=body, headers=self.ids.headers(), allow_redirects=False)


class Browse(LoadUser):
    """Looks at users, mostly at one."""

    weight = 6

    @task(8)
    def look_at_one(self) -> None:
        """Get a user."""
        self.ask("GET", f"/users/{random.choice(KNOWN_USERS)}", "/users/{user_id}")

    @task(2)
    def look_through(self) -> None:
        """List some users."""
        self.ask("GET", f"/users?limit=20&offset={random.randrange(0, 180, 20)}", "/users")


class Buy(LoadUser):
    """Places orders."""

    weight = 3

    @task
    def place_order(self) -> None:
        """Buy something."""
        order = {"user_id": random.choice(KNOWN_USERS), "sku": random.choice(_SKUS), "quantity": random.randint(1, 3)}
        self.ask("POST", "/orders", "/orders", order)


class Report(LoadUser):
    """Reads the orders of a user."""

    weight = 1

    @task
    def read_orders(self) -> None:
        """List a user's orders."""
        self.ask("GET", f"/orders?user_id={random.choice(KNOWN_USERS)}&limit=50", "/orders?user_id")
