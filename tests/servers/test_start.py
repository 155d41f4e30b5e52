"""What happens at the start of a service: migrations, and event loops that are not supported."""

import sys
from pathlib import Path

import httpx2
import pytest

from tests.emitted import parse
from tests.processes import Processes, free_port
from tests.servers.conftest import Start, run_to_end


def alembic(processes: Processes, project: Path, *arguments: str) -> None:
    """Run Alembic to its end."""
    command = [sys.executable, "-m", "alembic", *arguments]
    assert 0 == run_to_end(processes, "alembic", command, project), processes.last_lines("alembic")


@pytest.fixture(scope="module")
def migrations(project: Path, processes: Processes) -> None:
    """Make a migration with the files that `alembic init` writes: its `env.py` calls `fileConfig`."""
    alembic(processes, project, "init", "migrations")
    settings = project / "alembic.ini"
    settings.write_text(settings.read_text().replace("driver://user:pass@localhost/dbname", "sqlite:///shop.db"))
    alembic(processes, project, "revision", "--message", "start")
    assert "fileConfig(" in (project / "migrations/env.py").read_text()


@pytest.mark.usefixtures("migrations")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param("uvicorn migrated:app --port {port}", id="uvicorn"),
        pytest.param("hypercorn migrated:app --bind 127.0.0.1:{port}", id="hypercorn"),
    ],
)
def test_a_migration_does_not_end_logging(start: Start, processes: Processes, command: str) -> None:
    """Alembic disables all loggers and raises the root logger's level; after start-up, every line is there again."""
    with start(command) as service:
        response = httpx2.get(f"{service.url}/things/3")
    lines = parse(service.output.read_text())
    messages = [line["message"] for line in lines]

    assert ["Thing fetched", "Request finished"] == [
        line["message"] for line in lines if line["trace_id"] == response.headers["x-trace-id"]
    ]
    assert {"Service started", "Closing the shop", "Service stopped"} <= set(messages)
    # What Alembic prints itself, while its own configuration is in force.
    text = processes.errors(service.name).read_text().splitlines()
    assert [] == [line for line in text if not line.startswith("INFO  [alembic.")]


def test_trio_is_refused(project: Path, processes: Processes) -> None:
    """One line names the cause, and the service does not start."""
    hypercorn, address = Path(sys.executable).with_name("hypercorn"), f"127.0.0.1:{free_port()}"
    run_to_end(processes, "trio", [hypercorn, "service:app", "--worker-class", "trio", "--bind", address], project)
    written = processes.output("trio").read_text()

    (line,) = (line for line in parse(written) if line["level"] == "critical")
    assert "asyncio" in line["message"]
