"""Random requests and runs, with and without an incident, by seed."""

import random
from typing import NamedTuple

from tests.triage.fake_service import RUN, T0, FakeService, Line

ROUTES = ["/users/{user_id}", "/users", "/orders"]


class Incident(NamedTuple):
    """The lines of a service, the time of its incident, and the affected users."""

    lines: list[Line]
    start: float
    end: float
    users: frozenset[int]


def requests(seed: int, slow: int, users: int = 0, number: int = 1200) -> Incident:
    """Return the finished requests of a window, of which `slow` are slow: random ones, or those of some users."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    api = FakeService()
    affected = frozenset(rng.sample(range(1, 201), users))
    chosen = set(rng.sample(range(number), slow)) if not users else set()
    slow_so_far = 0
    for each in range(number):
        at = T0 + each * 0.05
        user = rng.randrange(1, 201)
        is_slow = each in chosen or (user in affected and slow_so_far < slow and rng.random() > 0.05)
        slow_so_far += is_slow
        api.finish(
            at, 2000 + rng.random() * 40 if is_slow else 5 + rng.expovariate(1 / 10), route=rng.choice(ROUTES),
            request_id=f"{RUN}-0-{each}", user_id=user, tenant=f"tenant-{rng.randrange(12)}", db_ms=3.0,
            db_calls=rng.randrange(1, 4), region=rng.choice(["north", "south"]), build=each % 7,
        )  # fmt: skip
    return Incident(api.lines, T0, T0 + number * 0.05, affected)


def run(
    seed: int, *, fault: bool = True, replicas: int = 1, background: float = 0.0001, restart: bool = False,
    exemplars: bool = True, warm_up: int = 0, rate: int = 20,
) -> Incident:  # fmt: skip
    """Return 150 seconds of requests and scrapes; with a fault, 8 users are slow from second 60 to 105."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    apis = [FakeService(instance=f"127.0.0.1:{8000 + number}") for number in range(replicas)]
    affected = frozenset(rng.sample(range(1, 201), 8))
    start, end = T0 + 60 + rng.random(), T0 + 105 + rng.random()
    pending = []
    for number in range(150 * rate):
        at = T0 + 0.5 + (number + rng.random()) / rate
        user = rng.randrange(1, 201)
        slow = (fault and start <= at <= end and user in affected) or rng.random() < background or number < warm_up
        duration = 2.0 + rng.random() / 20 if slow else 0.005 + rng.expovariate(100)
        pending.append((at + duration, duration * 1000, rng.choice(apis), user, number))
    pending.sort(key=lambda each: each[0])
    scrapes = 0
    for at, duration, api, user, number in pending:
        while T0 + scrapes < at:
            for place, each in enumerate(apis):
                each.scrape(T0 + scrapes + place / 10, exemplars=exemplars)
            scrapes += 1
            if restart and scrapes == 80:
                apis[0].start(T0 + scrapes - 0.5)
        api.finish(at, duration, user_id=user, request_id=f"{RUN}-0-{number}")
    return Incident([line for api in apis for line in api.lines], start, end + 2, affected if fault else frozenset())
