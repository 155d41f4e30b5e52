"""The run: everything is started, loaded, troubled in the middle, watched each second, and stopped in reverse."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from demo.children import Child, Children, DemoError, wait_until
from demo.plan import FAULTS, NONE, Plan
from demo.progress import Progress
from demo.scraper import Scraper
from demo.services import API, Service, start_api, start_fault, start_load, start_payments

_AFTERWARDS = 20  # seconds that the load may take to end


def walk(plan: Plan, progress: Progress, program: Sequence[str] = API) -> None:
    """Run it, and leave its files in the plan's folder; `DemoError` if something goes wrong."""
    try:
        _walk(plan, progress, program)
    except OSError as exc:
        where = f"{Path(exc.filename).name}: " if exc.filename else ""
        msg = f"The files of this run cannot be written: {where}{exc.strerror or exc}"
        raise DemoError(msg) from exc


def _walk(plan: Plan, progress: Progress, program: Sequence[str]) -> None:
    with Children() as children:
        payments = start_payments(children, plan)
        api = start_api(children, plan, payments, program)
        scraper = Scraper(plan.folder / "samples.jsonl", [api, payments])
        scraper.scrape()
        progress.say(f"The service is up at {api.http.base_url}, and payments behind it.")
        load = start_load(children, plan, api)
        progress.say(f"{plan.users} users make one request a second each, for {plan.duration} s.")
        _watch(plan, progress, scraper, api, load)
        scraper.scrape()
        # The services are stopped on the way out of here, api first.
    progress.say(f"{scraper.finished} requests were made, and everything is stopped.")


def _watch(plan: Plan, progress: Progress, scraper: Scraper, api: Service, load: Child) -> None:
    began = time.monotonic()
    pending = plan.fault != NONE
    for second in itertools.count(1):
        scraper.scrape_or_miss()
        passed = time.monotonic() - began
        if not load.alive:
            break
        if passed > plan.duration + _AFTERWARDS:
            msg = f"The load does not end; {load.last_words()}"
            raise DemoError(msg)
        if pending and passed >= plan.begins:
            pending = False
            start_fault(api, plan)
            progress.say(f"For {len(plan.unlucky)} users {FAULTS[plan.fault]} now, for {plan.lasts} s.")
        progress.at(passed, plan.duration, scraper.finished)
        wait_until(began + second)
    if load.stop():
        load.check()
