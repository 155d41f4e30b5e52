"""A run of the demo: start the services and Locust, inject a fault in the middle, and scrape every second."""

import itertools
import random
import time
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from demo.errors import DemoError
from demo.processes import Process, Processes, Service
from demo.scrape import Scraper

#: The faults that the service can inject, and their effect.
FAULTS = {
    "slow-query": "the database is slow",
    "database-timeout": "the database does not answer",
}
NO_FAULT = "none"

#: The users that exist from the start, and how many of them the fault affects.
_USERS = range(1, 201)
_AFFECTED_USERS = 8
_LOCUST_STOP_TIMEOUT = 20  # seconds


class Plan(NamedTuple):
    """The options of a run; times are in seconds."""

    duration: int
    users: int
    seed: int
    fault: str
    folder: Path
    #: The share of all requests that the fault affects; by default it affects some users instead.
    share: float | None = None

    @property
    def fault_start(self) -> float:
        """The seconds from the start of the load to the fault."""
        return self.duration * 0.4

    @property
    def fault_duration(self) -> int:
        """The duration of the fault: long enough to find its cause, with normal traffic before and after it."""
        return max(round(self.duration * 0.27), min(12, round(self.duration * 0.4)))

    @property
    def affected_users(self) -> list[int]:
        """The users that the fault affects."""
        return sorted(random.Random(self.seed).sample(_USERS, _AFFECTED_USERS))  # noqa: S311 - not a secret


def run(plan: Plan, progress: Progress) -> None:
    """Run the plan and write all files to its folder; raise `DemoError` if that fails."""
    progress.console.print("Starting two services and Locust on this machine.")
    try:
        with Processes(plan.folder) as processes:
            payments = processes.start_payments()
            api = processes.start_api(payments)
            scraper = Scraper(plan.folder / "samples.jsonl", [api, payments])
            scraper.scrape()
            progress.console.print(f"The service is up at {api.url}, with the payments service behind it.")
            locust = processes.start_locust(api.url, plan.users, plan.duration, plan.seed)
            progress.console.print(
                f"{plan.users} Locust users send one request per second each, for {plan.duration} s."
            )
            _watch(plan, progress, scraper, api, locust)
            scraper.scrape()
    except BrokenPipeError:
        raise  # from the terminal, not from a file
    except OSError as exc:
        name = f"{Path(exc.filename).name}: " if exc.filename else ""
        msg = f"The files of this run cannot be written: {name}{exc.strerror or exc}"
        raise DemoError(msg) from exc
    progress.console.print("The run is over, and all processes are stopped.")


def _watch(plan: Plan, progress: Progress, scraper: Scraper, api: Service, locust: Process) -> None:
    """Scrape every second until Locust ends, and inject the fault when it is time."""
    task = progress.add_task("", total=plan.duration, requests=0)
    began = time.monotonic()
    fault_pending = plan.fault != NO_FAULT
    for second in itertools.count(1):
        scraper.scrape_available()
        elapsed = time.monotonic() - began
        if not locust.is_running:
            break
        if elapsed > plan.duration + _LOCUST_STOP_TIMEOUT:
            msg = f"Locust did not stop; {locust.last_line()}"
            raise DemoError(msg)
        if fault_pending and elapsed >= plan.fault_start:
            fault_pending = False
            if plan.share is None:
                targets: dict[str, object] = {"users": plan.affected_users}
                scope = f"{len(plan.affected_users)} users"
            else:
                targets, scope = {"share": plan.share}, f"{plan.share:.0%} of all requests"
            api.inject_fault(plan.fault, plan.fault_duration, plan.seed, **targets)
            progress.console.print(f"Fault injected: {FAULTS[plan.fault]} for {scope}, for {plan.fault_duration} s.")
        shown = min(elapsed, plan.duration)
        description = f"{shown:.0f} of {plan.duration} s"
        progress.update(task, description=description, completed=shown, requests=scraper.finished)
        time.sleep(max(0.0, began + second - time.monotonic()))
    if locust.wait(0):
        locust.require_running()
