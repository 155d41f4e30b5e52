"""The two ways to send the requests of a measured run: an open loop by a plan, or a closed loop of users who wait."""

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import Protocol

import gevent
from gevent.event import Event
from gevent.pool import Group
from locust.env import Environment

from loadtest.profiles import Plan
from loadtest.user import ApiUser

#: Longer than a client waits for a response, so that no request is cut off. In seconds.
STOP_TIMEOUT = 65.0

Weights = Mapping[type[ApiUser], float]


class Loop(Protocol):
    """Sends one worker's share of a plan's requests."""

    def run(self, plan: Plan, begin: float, stopped: Event) -> None:
        """Send from `begin`, in seconds since 1970, until the end or until `stopped`; then wait for responses."""

    @property
    def users(self) -> int:
        """The number of users who run now."""


class OpenLoop:
    """Starts tasks when they are due, whether or not earlier ones have finished: every n-th of the plan."""

    users = 0

    def __init__(self, environment: Environment, weights: Weights, worker: int, workers: int) -> None:
        """Prepare the share of `worker`, which counts from 0, of so many `workers`."""
        self._environment = environment
        self._weights = weights
        self._share = slice(worker, None, workers)
        self._idle: defaultdict[type[ApiUser], list[ApiUser]] = defaultdict(list)

    def run(self, plan: Plan, begin: float, stopped: Event) -> None:
        """Start the tasks, and wait for the responses."""
        tasks = Group()
        start = time.perf_counter() + begin - time.time()
        for due in islice(plan.due(), self._share.start, None, self._share.step):
            if (left := start + due - time.perf_counter()) > 0:
                stopped.wait(left)
            else:
                gevent.sleep(0)  # late: let the tasks run that were started before
            if stopped.is_set():
                break
            tasks.spawn(self._run_task, start + due)
        tasks.join(STOP_TIMEOUT)

    def _run_task(self, due: float) -> None:
        (user_class,) = random.choices(list(self._weights), list(self._weights.values()))
        idle = self._idle[user_class]
        user = idle.pop() if idle else user_class(self._environment)
        user.late_ms = max(0.0, time.perf_counter() - due) * 1000
        try:
            random.choice(user.tasks)(user)  # type: ignore[operator]  # a function, not a TaskSet
        finally:
            idle.append(user)


class ClosedLoop:
    """Runs as many users as the plan's rate, each of whom waits for a response before the next task."""

    def __init__(self, environment: Environment, weights: Weights, worker: int, workers: int) -> None:
        """Prepare the share of `worker`, which counts from 0, of so many `workers`."""
        self._environment = environment
        self._classes = islice(_by_weight(weights), worker, None, workers)
        self._worker = worker
        self._workers = workers
        self._running: list[ApiUser] = []
        self._greenlets = Group()

    @property
    def users(self) -> int:
        """The number of users who run now."""
        return len(self._greenlets)

    def run(self, plan: Plan, begin: float, stopped: Event) -> None:
        """Start and stop users at each stage of the plan, and wait for the last responses."""
        for start, end, rate in plan.stages():
            if stopped.wait(max(0.0, begin + start - time.time())):
                break
            wanted = max(1, round(rate))
            self._scale(len(range(self._worker, wanted, self._workers)))
            if stopped.wait(max(0.0, begin + end - time.time())):
                break
        self._scale(0)
        self._greenlets.join(STOP_TIMEOUT)

    def _scale(self, users: int) -> None:
        while len(self._running) < users:
            user = next(self._classes)(self._environment)
            user.start(self._greenlets)
            self._running.append(user)
        while len(self._running) > users:
            self._running.pop().stop()


def _by_weight(weights: Weights) -> Iterator[type[ApiUser]]:
    """Yield user classes for ever, such that their counts stay as close as possible to the weights."""
    counts = dict.fromkeys(weights, 0)
    total = sum(weights.values())
    for number in count(1):
        chosen = max(weights, key=lambda each: weights[each] * number / total - counts[each])
        counts[chosen] += 1
        yield chosen
