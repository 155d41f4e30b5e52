"""A project as its author would start it: a file next to a copy of the folder `observability`."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import httpx2
import pytest

from tests.processes import Processes, free_port
from tests.services import Service

PROJECT = Path(__file__).parent / "project"
OBSERVABILITY = Path(__file__).parents[2] / "app/observability"

Start = Callable[[str], AbstractContextManager[Service]]


def pytest_ignore_collect() -> bool | None:
    """Do not collect these tests where the servers are not installed."""
    return None if find_spec("granian") else True


def run_to_end(processes: Processes, name: str, command: Sequence[str | Path], project: Path) -> int:
    """Run a command in the project, and return its exit code; what it has started is killed after a minute."""
    processes.start(name, command, cwd=project)
    group = processes.pid(name)
    try:
        return processes.wait(name, seconds=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the example project."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(OBSERVABILITY, folder / "observability", ignore=shutil.ignore_patterns("__pycache__"))
    for file in PROJECT.glob("[a-z]*.py"):
        source = file.read_text().replace("app.observability", "observability").replace("tests.servers.project.", "")
        (folder / file.name).write_text(source)
    return folder


@pytest.fixture(scope="session")
def start(project: Path, processes: Processes) -> Start:
    """Return a function that runs the project with a command, until the block ends; `{port}` stands for its port."""
    numbers = count()

    @contextmanager
    def run(command: str) -> Iterator[Service]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        program, *arguments = command.format(port=port).split()
        name = f"{program}-{next(numbers)}"
        executable = Path(sys.executable).with_name(program)
        processes.start(name, [executable, *arguments], {"PORT": str(port), "PYTHONUNBUFFERED": ""}, cwd=project)
        try:
            processes.wait_until_ready(name, f"{url}/metrics")
            with httpx2.Client(base_url=url, timeout=30) as client:
                yield Service(name, url, processes.output(name), client)
        finally:
            code = processes.stop(name)
        assert code != -signal.SIGKILL, f"{name} did not stop after SIGTERM"

    return run
