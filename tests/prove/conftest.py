"""One stack for all files, which run in the order of their numbers: Loki is away while the kills of 4 happen."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.prove import engine, report
from tests.stack import sets
from tests.stack.native import Stack

USERS = 200  # each makes a request a second
AWAY = 600  # seconds
OURS = '{service_name=~"api|payments"}'
SERVICES = ("api", "api-replica", "payments")


@dataclass
class Proof:
    """The stack under proof, its load, and what was found."""

    folder: Path
    report: report.Report
    stack: Stack = field(default_factory=Stack.published)
    began: float = 0.0
    gone: float = 0.0
    load: subprocess.Popen[bytes] | None = None

    def start_load(self, *options: str) -> None:
        """Make requests until `stop_load`; this load's own lines go nowhere."""
        self.began = time.time() - 1
        command = ["exec", "--no-TTY", "loadtest", "python", "-m", "locust", "--locustfile", "loadtest/locustfile.py"]
        quiet = ["--host", "http://api:8000", "--headless", "--incidents", "off", "--skip-log-setup", *options]
        pace = ["--users", str(USERS), "--spawn-rate", "50", "--stop-timeout", "15"]
        self.load = engine.started(*command, *quiet, *pace)

    def stop_load(self) -> None:
        """Let requests in flight finish, and wait for the end of the load."""
        assert self.load is not None
        code = "import os,signal;[os.kill(int(p),signal.SIGTERM) for p in os.listdir('/proc') if p.isdigit() and p!='1' "
        code += "and b'--headless' in open(f'/proc/{p}/cmdline','rb').read()]"
        engine.docker("compose", "exec", "--no-TTY", "loadtest", "python", "-c", code)
        self.load.wait(60)

    def written(self, since: float) -> list[Path]:
        """Save the lines of the services, and return their files."""
        stamp = f"{since:.0f}"
        files = []
        for name, container in engine.containers(*SERVICES).items():
            files.append(self.folder / f"{name}-{stamp}.jsonl")
            engine.save_lines(container, files[-1])
        return files

    def settled(self, selector: str = OURS) -> float:
        """Wait until no more lines come; return how long they kept coming."""
        now = time.monotonic()
        return max(0, sets.settled(self.stack.loki, selector, self.began, seconds=300) - now)


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    """Start the stack on empty volumes, with three replicas and no load; afterwards, write the page and wipe the rest."""
    if not shutil.which("docker"):
        pytest.skip("docker is not here")
    found = report.new(USERS)
    took = engine.up("--scale", "api-replica=2", LOAD="off")
    found.row(report.FIGURES, "three replicas, `up` on empty volumes to healthy", f"{took:.1f} s")
    yield Proof(tmp_path_factory.mktemp("proof"), found)
    found.write()
    engine.down()
