"""The open loop: requests leave when they are due, whether or not earlier ones are answered."""

import random
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

import gevent
from gevent.pool import Group
from locust import FastHttpUser, task
from locust.env import Environment
from locust.event import EventHook

from loadtest.mix import KINDS, Ask
from loadtest.profiles import Plan
from loadtest.users import LoadUser

_LOOK = 0.1  # seconds from one look at whether it is over to the next


class FromDue:
    """Locust's event of a request that is over, counted from when the request was due."""

    def __init__(self, event: EventHook) -> None:
        """Tell `event`."""
        self._event = event

    def fire(self, *, response_time: float, start_time: float, context: dict[str, Any], **rest: object) -> None:
        """Hand on what happened; the time that this generator was late is a client's waiting, too."""
        late = context["late_ms"]
        start_time, response_time = start_time - late / 1000, response_time + late
        self._event.fire(start_time=start_time, response_time=response_time, context=context, **rest)


class Arrivals(FastHttpUser):
    """Everybody who comes to one generator, of which each takes its share of the plan: every n-th arrival."""

    concurrency = 10_000
    plan: ClassVar[Plan]
    weights: ClassVar[dict[str, int]]
    begin: ClassVar[float] = 0.0  # seconds since 1970
    worker: ClassVar[int] = 0
    workers: ClassVar[int] = 1
    over: ClassVar[bool] = False
    _begun: ClassVar[bool] = False

    def __init__(self, environment: Environment) -> None:
        """Take one client for all."""
        super().__init__(environment)
        self.client.request_event = FromDue(environment.events.request)
        # Many share the client, so none of them may change it for a moment, as `allow_redirects` does.
        self.client.client.redirect_response_codes = frozenset()  # type: ignore[misc]

    @task
    def arrive(self) -> None:
        """Send what is due until it is over, and wait for the answers."""
        # Where a generator is lost, Locust gives its user to another one, and nobody may come twice.
        if not Arrivals._begun:
            Arrivals._begun = True
            in_flight = Group()
            for due, ask in self._share():
                in_flight.spawn(self._send, due, ask)
            in_flight.join()
        while not Arrivals.over:
            gevent.sleep(_LOOK)

    def _share(self) -> Iterator[tuple[float, Ask]]:
        chance = random.Random()
        kinds, weights = list(self.weights), list(self.weights.values())
        began = time.perf_counter() - (time.time() - self.begin)
        for due in islice(self.plan.due(), self.worker, None, self.workers):
            while (left := began + due - time.perf_counter()) > 0 and not Arrivals.over:
                gevent.sleep(min(left, _LOOK))
            if Arrivals.over:
                return
            if left < 0:
                gevent.sleep(0)  # late: those who came meanwhile are to leave, too
            yield began + due, KINDS[chance.choices(kinds, weights)[0]](chance)

    def _send(self, due: float, ask: Ask) -> None:
        late = max(0.0, time.perf_counter() - due)
        LoadUser.sender.send(self.client, ask, late * 1000)
