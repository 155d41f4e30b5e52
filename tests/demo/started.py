"""The demo as somebody starts it, and the processes that it starts."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.waiting import eventually

RUNS = "users make one request"


class Demo:
    """A demo that runs, with its own folder for temporary files."""

    def __init__(self, folder: Path, *arguments: str, before: Sequence[str] = ()) -> None:
        """Start it; `before` is a command that starts it, instead of nobody."""
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(  # noqa: S603 - ours
                [*before, sys.executable, "-m", "demo", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": str(self.temporary)},
                start_new_session=True,
            )

    @property
    def told(self) -> str:
        """What it wrote to stdout so far."""
        return self._stdout.read_text()

    @property
    def complained(self) -> str:
        """What it wrote to stderr so far."""
        return self._stderr.read_text()

    def children(self) -> dict[str, int]:
        """Wait until the load runs, and return the process ids of all three children."""
        eventually(lambda: RUNS in self.told or self.process.poll() is not None, "the load", 60)
        rows = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], check=True, capture_output=True, text=True).stdout  # noqa: S607
        found = {}
        for pid, parent, command in re.findall(r"^\s*(\d+)\s+(\d+)\s+(.*)$", rows, re.MULTILINE):
            if int(parent) == self.process.pid:
                found[re.sub(r".*-m (?:app )?(\w+).*", r"\1", command)] = int(pid)
        assert {"payments", "api", "locust"} == set(found), self.complained
        return found

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait for its end, and return its exit code."""
        return self.process.wait(120)

    def left(self) -> list[Path]:
        """Return the folders of runs that are left."""
        return sorted(self.temporary.glob("spike-to-log-*"))

    def kill(self) -> None:
        """End it, whatever it does; on Linux its children end with it."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()
