"""The services as their tests call them: real processes, on each of the two databases."""

import shutil
from collections.abc import Iterator

import pytest

from tests.postgres import MissingProgramError, start_postgres
from tests.processes import Processes, short_folder
from tests.services import Service, running


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of an empty database."""
    folder = short_folder()
    with Processes(folder) as processes:
        if request.param == "sqlite":
            yield f"sqlite:///{folder}/tested.db"
        else:
            try:
                yield start_postgres(processes)
            except MissingProgramError as exc:
                pytest.skip(str(exc))
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Run processes, whose output is in files."""
    with Processes(tmp_path_factory.mktemp("processes")) as running_processes:
        yield running_processes


@pytest.fixture(scope="session")
def payments(processes: Processes) -> Iterator[Service]:
    """Run payments."""
    with running(processes, "payments", {}) as service:
        yield service


@pytest.fixture(scope="session")
def api(database_url: str, payments: Service, processes: Processes) -> Iterator[Service]:
    """Run the main service, with the fault lab."""
    name = f"api-{database_url.split(':')[0]}"
    settings = {"DATABASE_URL": database_url, "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    with running(processes, "api", settings, name) as service:
        yield service
