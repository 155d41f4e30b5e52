"""One stack for all files, which run in the order of their numbers: Loki is away while the kills of 4 happen."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.prove import engine, report
from tests.stack import sets
from tests.stack.native import Stack

USERS = 200  # each makes a request a second
AWAY = int(os.environ.get("AWAY", "600"))  # seconds that Loki is away; fewer for a quick look
SERVICES = ("api", "api-replica", "payments")

# The image has no `pkill`: whoever runs Locust without its page, and is not this program, is told to stop.
_STOP = """
import os, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    words = open(f"/proc/{pid}/cmdline", "rb").read().split(bytes(1))
    if b"--headless" in words:
        os.kill(int(pid), signal.SIGTERM)
"""


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
        """Make requests until `stop_load`."""
        self.began = time.time() - 1
        self.load = engine.load(USERS, 50, "--stop-timeout", "15", *options)

    def stop_load(self) -> None:
        """Let requests in flight finish, and wait for the end of the load."""
        assert self.load is not None
        engine.inside("loadtest", "python", "-c", _STOP)
        self.load.wait(60)

    def save(self) -> list[Path]:
        """Save the lines of the services, and return their files."""
        files = []
        for name, container in engine.containers(*SERVICES).items():
            files.append(self.folder / f"{self.began:.0f}-{name}.jsonl")
            engine.save_lines(container, files[-1])
        return files

    def compared(self, what: str, note: Callable[[str], None] | None = None) -> sets.Compared:
        """Compare what was written since the load began with what Loki has; `note` is shown what it has."""
        late = self.settled()
        now = time.time()
        first = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.began))
        written = (
            line for file in self.save() for line in lines_of(file) if line.partition('"timestamp":"')[2][:19] >= first
        )
        stored = sets.stored_lines(self.stack.loki, sets.OURS, self.began, now)
        shown = stored if note is None else (_noted(line, note) for line in stored)
        found = sets.compare(written, shown, sets.counted_lines(self.stack.loki, sets.OURS, self.began, now))
        self.report.lines(what, found)
        self.report.row(report.FIGURES, f"the last line came after the load's end: {what}", f"{late:.0f} s")
        return found

    def settled(self) -> float:
        """Wait until no more lines come; return how long they kept coming."""
        now = time.monotonic()
        return max(0, sets.settled(self.stack.loki) - now)


def lines_of(file: Path) -> Iterator[str]:
    """Yield the lines of a file."""
    with file.open() as opened:
        for line in opened:
            yield line.rstrip("\n")


def _noted(line: str, note: Callable[[str], None]) -> str:
    note(line)
    return line


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    """Start the stack on empty volumes, with three replicas and no load; at the end, write the page and wipe it."""
    if not shutil.which("docker"):
        pytest.skip("docker is not here")
    found = report.new(USERS)
    took = engine.up("--scale", "api-replica=2", LOAD="off")
    found.row(report.FIGURES, "three replicas, `up` on empty volumes to healthy", f"{took:.1f} s")
    yield Proof(tmp_path_factory.mktemp("proof"), found)
    found.write()
    engine.down()
