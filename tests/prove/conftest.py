"""One stack for all files, which run in the order of their numbers: Loki is down during test_4_kills.py."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.prove import engine, report
from tests.stack import comparison
from tests.stack.native import Stack

USERS = 200  # each sends one request per second
OUTAGE = int(os.environ.get("AWAY", "600"))  # seconds that Loki is down
SERVICES = ("api", "api-replica", "payments")

# The image has no `pkill`: terminate the processes that run Locust headless, but not this one.
_STOP_LOCUST = """
import os, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    arguments = open(f"/proc/{pid}/cmdline", "rb").read().split(bytes(1))
    if b"--headless" in arguments:
        os.kill(int(pid), signal.SIGTERM)
"""


@dataclass
class Proof:
    """The stack under test, its load, and the report."""

    folder: Path
    report: report.Report
    stack: Stack = field(default_factory=Stack.published)
    load_started: float = 0.0  # wall clock
    loki_killed: float = 0.0  # monotonic clock
    load: subprocess.Popen[bytes] | None = None

    def start_load(self, *options: str) -> None:
        """Send requests until `stop_load`."""
        self.load_started = time.time() - 1
        self.load = engine.load(USERS, 50, "--stop-timeout", "15", *options)

    def stop_load(self) -> None:
        """Stop the load after its requests in flight, and wait for its end."""
        assert self.load is not None
        engine.execute("loadtest", "python", "-c", _STOP_LOCUST)
        self.load.wait(60)

    def save_lines(self) -> list[Path]:
        """Save the lines of the services to files, and return their paths."""
        files = []
        for name, container in engine.containers(*SERVICES).items():
            files.append(self.folder / f"{self.load_started:.0f}-{name}.jsonl")
            engine.save_lines(container, files[-1])
        return files

    def compare(self, scenario: str, on_line: Callable[[str], None] | None = None) -> comparison.Comparison:
        """Compare the lines since the start of the load with those in Loki; pass each stored line to `on_line`."""
        delay = self.wait_until_settled()
        now = time.time()
        first = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.load_started))
        written = (
            line
            for file in self.save_lines()
            for line in lines_of(file)
            if line.partition('"timestamp":"')[2][:19] >= first
        )
        stored = comparison.stored_lines(self.stack.loki, comparison.OURS, self.load_started, now)
        shown = stored if on_line is None else _forward(stored, on_line)
        result = comparison.compare(
            written, shown, comparison.counted_lines(self.stack.loki, comparison.OURS, self.load_started, now)
        )
        self.report.lines(scenario, result)
        self.report.row(report.FIGURES, f"time from the end of the load to the last line: {scenario}", f"{delay:.0f} s")
        return result

    def wait_until_settled(self) -> float:
        """Wait until Loki receives no more lines; return the seconds until the last one."""
        now = time.monotonic()
        return max(0, comparison.wait_until_settled(self.stack.loki) - now)


def lines_of(file: Path) -> Iterator[str]:
    """Yield the lines of a file."""
    with file.open() as opened:
        for line in opened:
            yield line.rstrip("\n")


def _forward(lines: Iterable[str], on_line: Callable[[str], None]) -> Iterator[str]:
    for line in lines:
        on_line(line)
        yield line


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    """Start the stack on empty volumes, with three replicas and no load; finally, write the page and stop it."""
    if not shutil.which("docker"):
        pytest.skip("docker is not installed")
    page = report.new(USERS)
    took = engine.up("--scale", "api-replica=2", LOAD="off")
    page.row(report.FIGURES, "`up` with three replicas on empty volumes, until healthy", f"{took:.1f} s")
    yield Proof(tmp_path_factory.mktemp("proof"), page)
    page.write()
    engine.down()
