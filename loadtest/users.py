"""Who makes the load. Each user does one thing a second, so the number of users is the rate."""

import itertools
import random
from collections.abc import Iterator
from time import perf_counter
from typing import ClassVar

import gevent
from locust import FastHttpUser, task

from loadtest.ids import RequestIds, new_run
from loadtest.mix import KINDS, SHIPPED, read_weights
from loadtest.sending import Sender

_PERIOD = 1.0  # seconds from one request of a user to the next
_WEIGHTS = read_weights(SHIPPED)


class LoadUser(FastHttpUser):
    """What all have in common: a pace, choices, and ids on every request."""

    abstract = True
    sender: ClassVar[Sender] = Sender(RequestIds(new_run()))
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

    @task
    def ask(self) -> None:
        """Do what this kind of user does."""
        self.sender.send(self.client, KINDS[type(self).__name__](self.chance))


class Browse(LoadUser):
    """Looks at users, mostly at one."""

    weight = _WEIGHTS["Browse"]


class Buy(LoadUser):
    """Places orders."""

    weight = _WEIGHTS["Buy"]


class Report(LoadUser):
    """Reads the orders of a user."""

    weight = _WEIGHTS["Report"]
