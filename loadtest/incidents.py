"""Incidents in the middle of a run: for a few users the database is slow, for a minute, every few minutes."""

import logging
import random

import gevent

from loadtest.lab import start_fault
from loadtest.population import KNOWN_USERS

logger = logging.getLogger(__name__)

FIRST = 60  # seconds after the run's start
EVERY = 300  # seconds from one to the next
# 8 of 200 users are in 3 to 4 of 100 requests: enough for p99 to move, which one slow request alone does not do.
USERS = 8
FAULT = {"fault": "slow-query", "delay_ms": 2_000}


def make_incidents(host: str, run: str) -> None:
    """Start an incident now and then, until the greenlet is killed."""
    gevent.sleep(FIRST)
    while True:
        make_incident(host, run)
        gevent.sleep(EVERY)


def make_incident(host: str, run: str, seconds: int = 60) -> None:
    """Make the database slow for a few users, or say why that cannot be."""
    users = sorted(random.sample(KNOWN_USERS, USERS))
    trouble = start_fault(host, {**FAULT, "seconds": seconds, "users": users})
    if trouble is None:
        logger.info("Incident started", extra={"event": "run.incident", "run": run, "fault_users": users})
    else:
        logger.warning("No incident: %s", trouble, extra={"run": run})
