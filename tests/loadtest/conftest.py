"""The service under load."""

from collections.abc import Iterator

import pytest

from tests.processes import Processes
from tests.services import Service, running


@pytest.fixture(scope="module")
def loaded(processes: Processes, payments: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service with faults, which a test may stop with SIGSTOP."""
    database = tmp_path_factory.mktemp("loaded") / "loaded.db"
    settings = {"DATABASE_URL": f"sqlite:///{database}", "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    with running(processes, "api", settings, "loaded") as service:
        yield service
