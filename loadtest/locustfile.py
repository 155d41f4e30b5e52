"""Users of the demo service: `locust -f loadtest/locustfile.py --host http://127.0.0.1:8000`."""

import random

from locust import events, tag, task

from loadtest import KNOWN_USERS
from loadtest.listeners import add_listeners
from loadtest.user import ApiUser

SKUS = ("sticker", "mug", "shirt", "poster")

add_listeners(events)


def random_user() -> int:
    """Return the id of a user that exists."""
    return random.choice(KNOWN_USERS)


class Browse(ApiUser):
    """Look at single users, and sometimes at a page of them."""

    weight = 6

    @tag("browse", "read")
    @task(4)
    def get_user(self) -> None:
        """Get one user."""
        self.client.get(f"/users/{random_user()}", name="/users/{user_id}")

    @tag("browse", "read")
    @task(1)
    def list_users(self) -> None:
        """Get a page of users."""
        self.client.get(f"/users?limit=20&offset={random.randrange(0, 180, 20)}", name="/users")


class Buy(ApiUser):
    """Place orders."""

    weight = 3

    @tag("buy", "write")
    @task
    def place_order(self) -> None:
        """Order one to three pieces of something."""
        order = {"user_id": random_user(), "sku": random.choice(SKUS), "quantity": random.randint(1, 3)}
        self.client.post("/orders", json=order, name="/orders")


class Report(ApiUser):
    """Read the orders of single users."""

    weight = 1

    @tag("report", "read")
    @task
    def list_orders(self) -> None:
        """Get the latest orders of one user."""
        self.client.get(f"/orders?user_id={random_user()}&limit=50", name="/orders?user_id")
