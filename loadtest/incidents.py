"""Incidents during a run: the database is slow for a few users."""

import json
import logging
import random
import time
import urllib.error
from http import HTTPStatus

from loadtest import KNOWN_USERS
from loadtest.http_client import open_url

logger = logging.getLogger(__name__)

FIRST = 60  # seconds after the run's start
EVERY = 300  # seconds
# 8 of 200 users make 3 to 4 of 100 requests: enough to move p99, which one slow request alone does not do.
USERS = 8


def repeat_incidents(host: str, run: str) -> None:
    """Start an incident every few minutes, until the greenlet is killed."""
    time.sleep(FIRST)
    while True:
        start_incident(host, run)
        time.sleep(EVERY)


def start_incident(host: str, run: str, seconds: int = 60) -> None:
    """Make the database slow for a few users, or log why that is not possible."""
    users = sorted(random.Random().sample(KNOWN_USERS, USERS))  # not the generator that --seed seeds
    fault = {"fault": "slow-query", "delay_ms": 2_000, "seconds": seconds, "users": users}
    if error := start_fault(host, fault):
        logger.warning("No incident: %s", error, extra={"run": run})
    else:
        logger.info("Incident started", extra={"event": "run.incident", "run": run, "fault_users": users})


def start_fault(host: str, fault: dict[str, object]) -> str | None:
    """Start a fault of the service at `host`; return the reason if that failed."""
    headers = {"Content-Type": "application/json", "X-Fault-Lab": "loadtest"}
    try:
        with open_url(f"{host.rstrip('/')}/faults", json.dumps(fault).encode(), timeout=10, headers=headers):
            return None
    except urllib.error.HTTPError as exc:
        if exc.code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            return "the service has no /faults; start it with FAULTS=on"
        return f"the service answered {exc.code}"
    except OSError as exc:
        return f"the service does not answer ({type(exc).__name__})"
