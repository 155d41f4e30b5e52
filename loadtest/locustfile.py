"""What Locust runs: the users, and what happens when a run starts and stops."""

import itertools
import logging
import os
import socket
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, Runner

from app.observability import configure_logging
from loadtest.ids import RequestIds, new_run
from loadtest.incidents import make_incidents
from loadtest.metrics import push_metrics
from loadtest.record import Record
from loadtest.roles import generates, leads, report_last, wait_for_role, worker_number
from loadtest.sending import Sender
from loadtest.users import Browse, Buy, LoadUser, Report

__all__ = ["Browse", "Buy", "Report"]

logger = logging.getLogger(__name__)

_FAR = 1_000_000  # from the numbers of one worker's users to those of the next one

# Locust would write its own format (and a table at the end); with --skip-log-setup its lines come here.
configure_logging("loadtest", os.environ.get("INSTANCE", "-"))
logging.getLogger("locust.stats_logger").setLevel(logging.CRITICAL)


class _Runs:
    """The run that is going on, of which there is at most one."""

    incidents: "gevent.Greenlet[[str, str], None] | None" = None
    record: Record | None = None


def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--incidents",
        choices=["on", "off"],
        default="on",
        help="Make the database slow for a few users now and then (the service needs FAULTS=on).",
    )
    # Not on the page: whoever opens it has no business with the files of this machine.
    hidden: dict[str, Any] = {"include_in_web_ui": False}
    parser.add_argument("--record", metavar="FILE", help="Append a line of JSON for each request.", **hidden)
    parser.add_argument("--seed", type=int, help="Make the users choose as in another run with this seed.", **hidden)
    parser.add_argument("--run", help="The name of the run, which the workers get from the one that leads.", **hidden)


def _made(environment: Environment, **_: object) -> None:
    push_metrics(
        environment,
        os.environ.get("INSTANCE", f"{socket.gethostname()}:{os.getpid()}"),
        rate=lambda: _rate(environment.runner),
        users=lambda: environment.runner.user_count if environment.runner else 0,
        in_flight=lambda: LoadUser.sender.in_flight,
    )


def _rate(runner: Runner | None) -> float:
    """Each user makes a request a second."""
    return runner.target_user_count if runner and runner.state in {STATE_SPAWNING, STATE_RUNNING} else 0


def _run_started(environment: Environment, **_: object) -> None:
    wait_for_role(environment)
    options, host = environment.parsed_options, environment.host or ""
    if options is None:
        return
    if leads(environment):
        options.run = new_run()  # which the workers are told, with the other options
        logger.info("Run started", extra={"event": "run.started", "run": options.run, "host": host})
        if options.incidents == "on":
            _Runs.incidents = gevent.spawn(make_incidents, host, options.run)
    if generates(environment):
        worker = worker_number(environment)
        LoadUser.sender = Sender(RequestIds(options.run, worker))
        LoadUser.seed, LoadUser.numbers = options.seed, itertools.count(1 + worker * _FAR)
        if options.record is not None:
            _Runs.record = Record(Path(options.record), options.run)
            environment.events.request.add_listener(_Runs.record.request)


def _run_stopped(environment: Environment, **_: object) -> None:
    if _Runs.incidents is not None:
        _Runs.incidents.kill()
        _Runs.incidents = None
    if _Runs.record is not None:
        environment.events.request.remove_listener(_Runs.record.request)
        _Runs.record.close()
        _Runs.record = None
    report_last(environment)
    if leads(environment) and environment.parsed_options is not None:
        total = environment.stats.total
        facts = {"run": environment.parsed_options.run, "requests": total.num_requests, "failures": total.num_failures}
        logger.info("Run stopped", extra={"event": "run.stopped", **facts})


events.init_command_line_parser.add_listener(_add_options)
events.init.add_listener(_made)
events.test_start.add_listener(_run_started)
events.test_stop.add_listener(_run_stopped)
