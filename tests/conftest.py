"""Fixtures for all tests."""

import os
import shutil
from collections.abc import Iterator

import pytest

from app.observability.testing import capture_logs
from tests.emitted import Emitted
from tests.postgres import start_postgres
from tests.processes import Processes, short_folder
from tests.services import Service, running


@pytest.hookimpl(optionalhook=True)  # pytest-xdist is not installed in all environments
def pytest_xdist_auto_num_workers() -> int:
    """Run two workers per core, because many tests wait for processes."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture
def anyio_backend() -> str:
    """Run `anyio` tests on asyncio, like the services."""
    return "asyncio"


@pytest.fixture
def emitted() -> Iterator[Emitted]:
    """Capture the output of a service under test, and restore the logging configuration afterwards."""
    with capture_logs(level="WARNING") as captured:
        yield Emitted(captured.stream)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of an empty database."""
    folder = short_folder()
    with Processes(folder) as processes:
        sqlite = request.param == "sqlite"
        yield f"sqlite:///{folder}/tested.db" if sqlite else start_postgres(processes)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Return a container for processes that run until the end of the test session."""
    with Processes(tmp_path_factory.mktemp("processes")) as running_processes:
        yield running_processes


@pytest.fixture(scope="session")
def payments(processes: Processes) -> Iterator[Service]:
    """Run the payments service."""
    with running(processes, "payments", {}) as service:
        yield service


@pytest.fixture(scope="session")
def api(database_url: str, payments: Service, processes: Processes) -> Iterator[Service]:
    """Run the main service with fault injection enabled."""
    name = f"api-{database_url.split(':', maxsplit=1)[0]}"
    settings = {"DATABASE_URL": database_url, "PAYMENTS_URL": payments.url, "FAULTS": "on", "DATABASE_TIMEOUT": "1.5"}
    with running(processes, "api", settings, name) as service:
        yield service
