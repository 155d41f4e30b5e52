"""Whether the load tells Prometheus what it does, and what."""

import os
from collections.abc import Callable

from locust.env import Environment

from loadtest.roles import generates, leads


def push_metrics(
    environment: Environment,
    instance: str,
    *,
    rate: Callable[[], float],
    users: Callable[[], float],
    in_flight: Callable[[], float],
) -> None:
    """Push what this process knows until it ends, if `PROMETHEUS_URL` says where to.

    The rate is known by the one that leads, and the rest by those that generate, so that sums are right.
    """
    url = os.environ.get("PROMETHEUS_URL")
    if not url:
        return
    from loadtest.pushed import Pushed  # noqa: PLC0415 - a load without metrics does not pay for their libraries

    gauges = {"load_rate": rate} if leads(environment) else {}
    if generates(environment):
        gauges |= {"load_users": users, "load_in_flight": in_flight}
    pushed = Pushed(instance, gauges, url)
    environment.events.request.add_listener(pushed.request)
    environment.events.quitting.add_listener(pushed.close)
