"""Locust event listeners: options, the name of the run, incidents, the record of requests, and metrics."""

import logging
import os
import random
import socket
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import gevent
from locust import User
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import Events
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

from app.observability import configure_logging
from loadtest.ids import RequestIds, new_run
from loadtest.incidents import repeat_incidents
from loadtest.record import Record
from loadtest.slowest import SlowestRequests
from loadtest.user import ApiUser, TracedSession
from loadtest.web_ui import protect_web_ui
from triage.urls import split_credentials

logger = logging.getLogger(__name__)


def add_listeners(events: Events) -> None:
    """Add all listeners to Locust's events."""
    # Locust imports its file before it parses options, and would log in its own format until then.
    if "--skip-log-setup" in sys.argv:
        _log_json()
    run = _Run()
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_hide_credentials)
    events.init.add_listener(_drop_users_without_tasks)
    events.init.add_listener(_push_metrics)
    events.init.add_listener(protect_web_ui)
    events.test_start.add_listener(run.start)
    events.test_stop.add_listener(run.stop)
    SlowestRequests().add_listeners(events)


def _log_json() -> None:
    configure_logging("loadtest", os.environ.get("INSTANCE", "-"))
    logging.getLogger("locust.stats_logger").setLevel(logging.CRITICAL)  # its tables are for a terminal


def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--incidents",
        choices=["on", "off"],
        default="off",
        help="Make the database slow for a few users every few minutes. The service needs FAULTS=on.",
    )
    # Not in the form of the web UI, and so refused there: its visitors must not choose files on this machine.
    hidden: dict[str, Any] = {"include_in_web_ui": False}
    parser.add_argument(
        "--allow-any-host",
        action="store_true",
        help="Let the web UI load other hosts than that of --host. Without --host, it only loads this machine.",
        **hidden,
    )
    parser.add_argument("--record", metavar="FILE", help="Append one line of JSON per request to FILE.", **hidden)
    parser.add_argument(
        "--grafana-port",
        type=int,
        default=os.environ.get("GRAFANA_PORT") or "3000",
        help="The port of Grafana on this machine, for links to the log lines of the slowest requests. By default, "
        "GRAFANA_PORT or 3000.",
        **hidden,
    )
    parser.add_argument("--seed", type=int, help="Seed of the users' random choices.", **hidden)
    parser.add_argument("--run", help="The name of the run; the master passes it to its workers.", **hidden)


def _hide_credentials(environment: Environment, **_: object) -> None:
    """Move the user name and password of the host to the options, because Locust shows and records the host.

    It sends the options to the workers, but does not show this one, which is none of the command line.
    """
    options, target = environment.parsed_options, environment.host
    if options is None or not target:
        return
    host, credentials = split_credentials(target)
    if credentials:
        options.target = target
    environment.host = options.host = host
    for user_class in environment.user_classes:
        user_class.host = host


def _drop_users_without_tasks(environment: Environment, **_: object) -> None:
    """Leave out user classes without a task for `--tags` and `--exclude-tags`; with Locust alone they fail."""
    options = environment.parsed_options
    tags, excluded = set(options.tags or ()), set(options.exclude_tags or ())  # type: ignore[union-attr]
    if not tags and not excluded:
        return

    def has_task(user_class: type[User]) -> bool:
        return any((not tags or tags & found) and not excluded & found for found in _tags_of(user_class))

    known = sorted(set().union(*(found for each in environment.user_classes for found in _tags_of(each))))
    environment.user_classes[:] = [each for each in environment.user_classes if has_task(each)]
    if not environment.user_classes:
        if is_master(environment):
            sys.stderr.write(f"No task is left to run. Tags in this locustfile: {', '.join(known)}.\n")
        sys.exit(2)


def _tags_of(user_class: type[User]) -> list[AbstractSet[str]]:
    return [getattr(each, "locust_tag_set", frozenset()) for each in user_class.tasks]


def _push_metrics(environment: Environment, **_: object) -> None:
    """Push metrics if `PROMETHEUS_URL` is set; the rate comes from one process, the rest from those that send."""
    url, runner = os.environ.get("PROMETHEUS_URL"), environment.runner
    if not url or runner is None:
        return
    from loadtest.otlp import LoadMetrics  # noqa: PLC0415 - slow to import, and only needed here

    def rate() -> float:  # each user makes one request per second
        return runner.target_user_count if runner.state in {STATE_SPAWNING, STATE_RUNNING} else 0

    instance = os.environ.get("INSTANCE", f"{socket.gethostname()}:{os.getpid()}")
    gauges = {"load_rate": rate} if is_master(environment) else {}
    if is_worker(environment):
        gauges |= {"load_users": lambda: runner.user_count, "load_in_flight": lambda: TracedSession.in_flight}
    metrics = LoadMetrics(url, instance, gauges)
    environment.events.request.add_listener(metrics.on_request)
    environment.events.quitting.add_listener(metrics.close)


def is_master(environment: Environment) -> bool:
    """Return whether this process controls the run: a master, or a process that runs alone."""
    return not isinstance(environment.runner, WorkerRunner)


def is_worker(environment: Environment) -> bool:
    """Return whether this process sends requests: a worker, or a process that runs alone."""
    return not isinstance(environment.runner, MasterRunner)


class _Run:
    """The current run of this process."""

    def __init__(self) -> None:
        self._incidents: gevent.Greenlet[..., None] | None = None
        self._record: Record | None = None

    def start(self, environment: Environment, **_: object) -> None:
        # The master may start a run while a worker is still connecting, and has no number yet.
        while environment.runner is None:
            gevent.sleep(0.01)
        options = environment.parsed_options
        if options is None:
            return
        _hide_credentials(environment)  # those of a host in the form of the web UI
        host, ApiUser.target = environment.host or "", getattr(options, "target", "")
        if is_master(environment):
            options.run = new_run()  # Locust sends the options to the workers
            extra = {"event": "run.started", "run": options.run, "host": host}
            logger.info("Run %s started", options.run, extra=extra)
            if options.incidents == "on":
                self._incidents = gevent.spawn(repeat_incidents, ApiUser.url_of(host), options.run)
        if is_worker(environment):
            worker = int(getattr(environment.runner, "worker_index", 0))
            ApiUser.request_ids = RequestIds(options.run, worker)
            if options.seed is not None:
                random.seed(f"{options.seed}-{worker}")
            if options.record is not None:
                self._record = Record(Path(options.record), options.run)
                environment.events.request.add_listener(self._record.on_request)

    def stop(self, environment: Environment, **_: object) -> None:
        if self._incidents is not None:
            self._incidents.kill()
            self._incidents = None
        if self._record is not None:
            environment.events.request.remove_listener(self._record.on_request)
            self._record.close()
            self._record = None
        _send_statistics(environment)
        if is_master(environment) and environment.parsed_options is not None:
            run, total = environment.parsed_options.run, environment.stats.total
            extra = {"event": "run.stopped", "run": run, "requests": total.num_requests, "failures": total.num_failures}
            logger.info("Run %s stopped", run, extra=extra)


def _send_statistics(environment: Environment) -> None:
    """Send a worker's last counts at once: the master takes a run for finished as soon as no users are left."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        data: dict[str, Any] = {}
        environment.events.report_to_master.fire(client_id=runner.client_id, data=data)
        runner.send_message("stats", data)
