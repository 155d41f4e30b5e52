"""Which part of Locust a process is: alone, the one that leads, or a worker."""

from typing import Any

import gevent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner


def wait_for_role(environment: Environment) -> None:
    """Wait until a process has its part: a worker may be told to start while it is still connecting."""
    while environment.runner is None:
        gevent.sleep(0.01)


def leads(environment: Environment) -> bool:
    """Whether this process starts and ends the run."""
    return not isinstance(environment.runner, WorkerRunner)


def generates(environment: Environment) -> bool:
    """Whether this process makes requests."""
    return not isinstance(environment.runner, MasterRunner)


def worker_number(environment: Environment) -> int:
    """Return which of the generators this is; the one that leads has counted them."""
    return int(getattr(environment.runner, "worker_index", 0))


def report_last(environment: Environment) -> None:
    """Hand the last counts to the one that leads, which believes that a run is over when nobody has users any more."""
    if isinstance(environment.runner, WorkerRunner):
        data: dict[str, Any] = {}
        environment.events.report_to_master.fire(client_id=environment.runner.client_id, data=data)
        environment.runner.send_message("stats", data)
