"""The demo as a process, and the processes that it starts."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.waiting import wait_for

_RUNNING = "send one request per second"
_EXIT_TIMEOUT = 120  # seconds


class DemoProcess:
    """A running demo with its own folder for temporary files."""

    def __init__(self, folder: Path, *options: str, before: Sequence[str] = ()) -> None:
        """Start it; `before` is a command that runs it, such as nohup."""
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        # These tests may run with SIGINT or SIGHUP ignored, as by nohup, which a process inherits.
        handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)}
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(  # noqa: S603 - the demo
                [*before, sys.executable, "-m", "demo", *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": str(self.temporary)},
                start_new_session=True,
            )
        for number, handler in handlers.items():
            signal.signal(number, handler)

    @property
    def output(self) -> str:
        """Stdout so far."""
        return self._stdout.read_text()

    @property
    def errors(self) -> str:
        """Stderr so far."""
        return self._stderr.read_text()

    def wait_for_output(self, text: str) -> None:
        """Wait for a text on stdout."""
        wait_for(lambda: text in self.output or self.process.poll() is not None, text, 60)

    def children(self) -> dict[str, int]:
        """Wait for Locust's run, and return the process ids of both services and of Locust."""
        self.wait_for_output(_RUNNING)
        rows = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], check=True, capture_output=True, text=True).stdout  # noqa: S607
        found = {}
        for row in rows.splitlines():
            pid, parent, *command = row.split(maxsplit=2)
            if int(parent) == self.process.pid and command:
                found[re.sub(r".*-m (?:app )?(\w+).*", r"\1", command[0])] = int(pid)
        assert {"payments", "api", "locust"} == set(found), self.errors
        return found

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(_EXIT_TIMEOUT)

    def temporary_folders(self) -> list[Path]:
        """Return the folders of runs that have not been removed."""
        return sorted(self.temporary.glob("spike-to-log-*"))

    def kill(self) -> None:
        """Kill it if it runs; on Linux its processes end with it."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()
