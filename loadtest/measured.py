"""What Locust runs for `python -m loadtest.run`: users or arrivals by a profile, and the files of the run."""

import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import gevent
from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from app.observability import configure_logging
from loadtest.arrivals import Arrivals
from loadtest.ids import RequestIds
from loadtest.incidents import make_incident
from loadtest.metrics import push_metrics
from loadtest.mix import read_weights
from loadtest.options import RunOptions
from loadtest.record import GeneratorRecord, encode, line
from loadtest.roles import generates, leads, report_last, wait_for_role, worker_number
from loadtest.sending import Sender
from loadtest.users import Browse, Buy, LoadUser, Report

__all__ = ["Arrivals", "Browse", "Buy", "ByProfile", "Report"]

logger = logging.getLogger(__name__)

_LEAD = 0.5  # seconds before the first arrival, so that every generator has begun

configure_logging("loadtest", os.environ.get("INSTANCE", "-"), level="WARNING")
logging.getLogger("locust.stats_logger").setLevel(logging.CRITICAL)
# It warns of any rate at which users start, where here they all start at once.
logging.getLogger("locust.runners").setLevel(logging.ERROR)


class _Run:
    """The one run of this process."""

    options: RunOptions | None = None
    begin: float | None = None
    interrupted = False
    stopped = False
    record: GeneratorRecord | None = None
    fault: "gevent.Greenlet[[str, str, int], None] | None" = None


class ByProfile(LoadTestShape):
    """As many users as the profile asks for, or a share of the arrivals for each generator; then it stops the run."""

    def tick(self) -> tuple[int, float] | None:
        """Say how many there should be now; the last answer comes when all of them are done."""
        begin, options = _Run.begin, _Run.options
        if options is None:
            return None
        second = 0.0 if begin is None else time.time() - begin
        while options.plan.seconds - second < 1 and not _Run.interrupted and second < options.plan.seconds:
            gevent.sleep(min(0.1, options.plan.seconds - second))
            second = time.time() - (begin or 0)
        if _Run.interrupted or second >= options.plan.seconds:
            # Locust's own end would not wait for the workers' last counts.
            if self.runner is not None:
                self.runner.stop()
            return None
        users = options.workers if options.loop == "open" else max(1, round(options.plan.rate_at(max(second, 0))))
        return users, max(users, 1)


def _add_options(parser: LocustArgumentParser) -> None:
    hidden: dict[str, Any] = {"include_in_web_ui": False}
    parser.add_argument("--measured", required=True, metavar="JSON", help="The options of loadtest.run.", **hidden)
    # Locust hands its own options on to the workers when a run starts, and these, too.
    parser.add_argument("--begin", type=float, help="When the run began, in seconds since 1970.", **hidden)


def _options(environment: Environment) -> RunOptions:
    """Return the options of the run, and choose who comes; a worker may be told to start before it is ready."""
    if _Run.options is None:
        _Run.options = options = RunOptions.model_validate_json(environment.parsed_options.measured)  # type: ignore[union-attr]
        Arrivals.plan, Arrivals.weights, Arrivals.workers = options.plan, read_weights(options.users), options.workers
        users: list[type[LoadUser]] = [Browse, Buy, Report]
        for kind in users:
            kind.weight = Arrivals.weights[kind.__name__]
        comes = [Arrivals] if options.loop == "open" else [kind for kind in users if kind.weight]
        environment.user_classes[:] = comes
    return _Run.options


def _made(environment: Environment, **_: object) -> None:
    """Get ready; from here on, Ctrl-C ends the run in good order."""
    options = _options(environment)

    def interrupt() -> None:
        _Run.interrupted = True

    if leads(environment):
        gevent.signal_handler(signal.SIGINT, interrupt)
    push_metrics(
        environment,
        f"{socket.gethostname()}:{os.getpid()}",
        rate=_rate,
        users=lambda: environment.runner.user_count if environment.runner and options.loop == "closed" else 0,
        in_flight=lambda: LoadUser.sender.in_flight,
    )


def _rate() -> float:
    if _Run.options is None or _Run.begin is None or _Run.stopped:
        return 0
    return _Run.options.plan.rate_at(max(0.0, time.time() - _Run.begin))


def _run_started(environment: Environment, **_: object) -> None:
    wait_for_role(environment)
    options, parsed = _options(environment), environment.parsed_options
    if parsed is None:
        return
    if leads(environment):
        parsed.begin = time.time() + (_LEAD if options.loop == "open" else 0)
        _tell_start(options, parsed.begin)
        if (window := options.plan.profile.fault) is not None:
            first, last = (share * options.plan.seconds for share in window)
            _Run.fault = gevent.spawn_later(
                parsed.begin - time.time() + first,
                make_incident,
                options.url,
                options.run,
                min(max(round(last - first), 1), 600),
            )
    _Run.begin = Arrivals.begin = parsed.begin
    if generates(environment):
        worker = Arrivals.worker = worker_number(environment)
        LoadUser.sender = sender = Sender(RequestIds(options.run, worker))
        path = options.own_folder / f"sent-{worker}.jsonl"
        _Run.record = GeneratorRecord(path, options.run, worker, lambda: sender.in_flight)
        environment.events.request.add_listener(_Run.record.request)


def _tell_start(options: RunOptions, begin: float) -> None:
    plan = options.plan
    facts = {
        "host": options.url,
        "profile": options.profile,
        "loop": options.loop,
        "seconds": plan.seconds,
        "rate": round(plan.arrivals / plan.seconds, 3),
        "workers": options.workers,
        "users": Arrivals.weights,
    }
    _tell(options.own_folder, line("run.started", options.run, begin, **facts))


def _tell(folder: Path, fields: dict[str, object]) -> None:
    try:
        with (folder / "run.jsonl").open("ab") as file:
            file.write(encode(fields))
    except OSError as exc:
        logger.warning("What the run is cannot be recorded: %s", exc.strerror)


def _run_stopping(**_: object) -> None:
    Arrivals.over = True


def _run_stopped(environment: Environment, **_: object) -> None:
    if _Run.record is not None:
        environment.events.request.remove_listener(_Run.record.request)
        _Run.record.close()
        _Run.record = None
    report_last(environment)
    if leads(environment) and _Run.options is not None and not _Run.stopped:
        _Run.stopped = True
        if _Run.fault is not None:
            _Run.fault.kill()
        total = environment.stats.total
        counts = {"requests": total.num_requests, "failures": total.num_failures, "interrupted": _Run.interrupted}
        _tell(_Run.options.own_folder, line("run.stopped", _Run.options.run, **counts))


events.init_command_line_parser.add_listener(_add_options)
events.init.add_listener(_made)
events.test_start.add_listener(_run_started)
events.test_stopping.add_listener(_run_stopping)
events.test_stop.add_listener(_run_stopped)
