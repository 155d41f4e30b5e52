"""A running stack: native processes, or the stack of `docker compose up` with STACK=up."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.app.faults import FAULT_HEADERS
from tests.load import locust
from tests.processes import Processes
from tests.stack.native import REPLICAS, NativeStack, Stack


@pytest.fixture(scope="session")
def native() -> Iterator[NativeStack | None]:
    """Return the native stack, for tests that change it; None if the stack is docker compose."""
    if os.environ.get("STACK") == "up":
        yield None
        return
    with NativeStack() as native:
        yield native


@pytest.fixture(scope="session")
def stack(native: NativeStack | None) -> Stack:
    """Return the addresses of the running stack."""
    return native.start() if native else Stack.published()


@pytest.fixture
def load(native: NativeStack | None, stack: Stack, tmp_path: Path) -> Iterator[None]:
    """Run Locust against all replicas, with a slow database for some users, until the end of the test."""
    fault = {"fault": "slow-query", "users": list(range(1, 9)), "seconds": 300, "delay_ms": 1000}
    replicas = [native.url(name) for name in REPLICAS] if native else [stack.api]
    with Processes(tmp_path) as processes:
        for number, url in enumerate(replicas):
            processes.start(f"load-{number}", locust(url, 60 // len(replicas), 30))
        httpx2.post(f"{stack.api}/faults", json=fault, headers=FAULT_HEADERS).raise_for_status()
        yield
    httpx2.delete(f"{stack.api}/faults", headers=FAULT_HEADERS).raise_for_status()
