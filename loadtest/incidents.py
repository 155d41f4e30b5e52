"""Incidents in the middle of a run: for a few users the database is slow, for a minute, every few minutes."""

import json
import logging
import random
import urllib.error
import urllib.request

import gevent

from loadtest.users import KNOWN_USERS

logger = logging.getLogger(__name__)

FIRST = 60  # seconds after the run's start
EVERY = 300  # seconds from one to the next
# 8 of 200 users are in 3 to 4 of 100 requests: enough for p99 to move, which one slow request alone does not do.
USERS = 8
FAULT = {"fault": "slow-query", "seconds": 60, "delay_ms": 2_000}


def make_incidents(host: str, run: str) -> None:
    """Start an incident now and then, until the greenlet is killed."""
    gevent.sleep(FIRST)
    while True:
        users = sorted(random.sample(KNOWN_USERS, USERS))
        error = _start_fault(host, {**FAULT, "users": users})
        if error is None:
            logger.info("Incident started", extra={"event": "run.incident", "run": run, "fault_users": users, **FAULT})
        else:
            logger.warning("No incident: %s", error, extra={"run": run})
        gevent.sleep(EVERY)


def _start_fault(host: str, fault: dict[str, object]) -> str | None:
    """Ask the service for a fault; return why there is none."""
    request = urllib.request.Request(  # noqa: S310 - the host that the run loads
        f"{host.rstrip('/')}/faults",
        data=json.dumps(fault).encode(),
        headers={"Content-Type": "application/json", "X-Fault-Lab": "loadtest"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            return None
    except urllib.error.HTTPError as exc:
        return "the service runs with FAULTS=off" if exc.code == 404 else f"the service answered {exc.code}"  # noqa: PLR2004
    except OSError as exc:
        return f"the service does not answer ({type(exc).__name__})"
