"""What Locust runs: the users, and what happens when a run starts and stops."""

import itertools
import logging
import os
import sys
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from app.observability import Observability, configure_logging
from loadtest.ids import RequestIds, new_run
from loadtest.incidents import make_incidents
from loadtest.record import Record
from loadtest.sending import Sender
from loadtest.users import Browse, Buy, LoadUser, Report

__all__ = ["Browse", "Buy", "Report"]

logger = logging.getLogger(__name__)

# Locust would write its own format (and a table at the end); with --skip-log-setup its lines come here.
configure_logging(Observability("loadtest", instance=os.environ.get("INSTANCE", "-")), sys.stdout)
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
    parser.add_argument("--record", type=Path, metavar="FILE", help="Append a line of JSON for each request.", **hidden)
    parser.add_argument("--seed", type=int, help="Make the users choose as in another run with this seed.", **hidden)


def _run_started(environment: Environment, **_: object) -> None:
    LoadUser.sender, LoadUser.numbers = Sender(RequestIds(new_run())), itertools.count(1)
    options = environment.parsed_options
    host, run = environment.host or "", LoadUser.sender.ids.run
    logger.info("Run started", extra={"event": "run.started", "run": run, "host": host})
    if options is None:
        return
    LoadUser.seed = options.seed
    if options.record is not None:
        _Runs.record = Record(options.record, run)
        environment.events.request.add_listener(_Runs.record.request)
    if options.incidents == "on":
        _Runs.incidents = gevent.spawn(make_incidents, host, run)


def _run_stopped(environment: Environment, **_: object) -> None:
    if _Runs.incidents is not None:
        _Runs.incidents.kill()
        _Runs.incidents = None
    if _Runs.record is not None:
        environment.events.request.remove_listener(_Runs.record.request)
        _Runs.record.close()
        _Runs.record = None
    total = environment.stats.total
    facts = {"run": LoadUser.sender.ids.run, "requests": total.num_requests, "failures": total.num_failures}
    logger.info("Run stopped", extra={"event": "run.stopped", **facts})


events.init_command_line_parser.add_listener(_add_options)
events.test_start.add_listener(_run_started)
events.test_stop.add_listener(_run_stopped)
