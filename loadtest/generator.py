"""`python -m loadtest.generator WORKER`: one process that sends requests in a measured run.

It reads its options from the first line of stdin, prints the weights of the user classes when it is ready, and starts
at the time in the second line. Warnings go to stderr.
"""

import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from contextlib import ExitStack

import gevent
from gevent.event import Event
from locust.env import Environment

from loadtest.ids import RequestIds
from loadtest.locustfile import Browse, Buy, Report
from loadtest.loops import ClosedLoop, Loop, OpenLoop
from loadtest.options import RunOptions
from loadtest.record import GeneratorRecord
from loadtest.user import ApiUser, TracedSession

_OPEN_FILES = 65_536  # requests that wait at the same time need one each


def main() -> None:
    """Send one share of a run's requests, and record them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    worker, options = int(sys.argv[1]), RunOptions.model_validate_json(sys.stdin.readline())
    user_classes: tuple[type[ApiUser], ...] = (Browse, Buy, Report)
    for user_class in user_classes:
        user_class.host = options.target
    weights = {each: getattr(options.users, each.__name__, each.weight) for each in user_classes}
    ApiUser.request_ids = RequestIds(options.run, worker)
    environment = Environment(host=options.url, user_classes=[*user_classes])
    loop: Loop = (OpenLoop if options.loop == "open" else ClosedLoop)(environment, weights, worker, options.workers)
    stopped = Event()
    gevent.signal_handler(signal.SIGINT, stopped.set)
    sys.stdout.write(json.dumps({each.__name__: weight for each, weight in weights.items()}) + "\n")
    sys.stdout.flush()
    begin = float(sys.stdin.readline())

    def rate() -> float:
        return 0 if stopped.is_set() else options.plan.rate_at(max(0.0, time.time() - begin)) / options.workers

    with ExitStack() as closing:
        path = options.run_folder / f"sent-{worker}.jsonl"
        record = GeneratorRecord(path, options.run, worker, lambda: TracedSession.in_flight)
        closing.callback(record.close)
        environment.events.request.add_listener(record.on_request)
        if url := os.environ.get("PROMETHEUS_URL"):
            from loadtest.otlp import LoadMetrics  # noqa: PLC0415 - slow to import, and only needed here

            gauges = {
                "load_rate": rate,
                "load_users": lambda: loop.users,
                "load_in_flight": lambda: TracedSession.in_flight,
            }
            metrics = LoadMetrics(url, f"{socket.gethostname()}:{os.getpid()}", gauges)
            closing.callback(metrics.close)
            environment.events.request.add_listener(metrics.on_request)
        loop.run(options.plan, begin, stopped)


if __name__ == "__main__":
    main()
