"""Child processes, which are stopped at the end of a test."""

import os
import random
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from tests.waiting import wait_for

#: Systems take the ports of outgoing connections from above this range, so these stay free until a server uses them.
PORTS = range(11_000, 32_000)
_returned_ports: set[int] = set()


def free_port() -> int:
    """Return an unused port, each time a different one; the parallel workers of pytest do not share any."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = PORTS[worker::workers]
    while True:
        port = random.choice(own)  # noqa: S311  - any port will do
        if port not in _returned_ports and _is_unused(port):
            _returned_ports.add(port)
            return port


def _is_unused(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def short_folder() -> Path:
    """Create a folder that the PostgreSQL user may enter, with a path that is short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="spike-"))
    folder.chmod(0o755)
    return folder


class Processes:
    """Running processes by name; the stdout and stderr of each one are in files."""

    def __init__(self, folder: Path) -> None:
        """Write the output files to `folder`."""
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Return this container."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all processes in reverse order."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start a process in this project's folder, or in `cwd`; `env` is added to the environment."""
        with self.output(name).open("ab") as out, self.errors(name).open("ab") as err:
            self._running[name] = subprocess.Popen(  # noqa: S603 - commands from the tests
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
                user=user,
                cwd=cwd,
                start_new_session=True,
            )

    def run(self, name: str, command: Sequence[str | Path], user: str | None = None) -> None:
        """Run a process to its end; if it fails, raise `AssertionError` with its last lines."""
        self.start(name, command, user=user)
        if code := self._running.pop(name).wait(120):
            msg = f"{name} ended with {code}:\n{self.last_lines(name)}"
            raise AssertionError(msg)

    def output(self, name: str) -> Path:
        """Return the file with the stdout of a process."""
        return self.folder / f"{name}.jsonl"

    def errors(self, name: str) -> Path:
        """Return the file with the stderr of a process."""
        return self.folder / f"{name}.err"

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a process, wait until it exits, and return its exit code."""
        process = self._running.pop(name)
        process.send_signal(number)
        return process.wait(60)

    def wait(self, name: str, seconds: float = 60) -> int:
        """Wait until a process exits by itself, and return its exit code."""
        return self._running.pop(name).wait(seconds)

    def pid(self, name: str) -> int:
        """Return the id of a process."""
        return self._running[name].pid

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a process without waiting."""
        self._running[name].send_signal(number)

    def stop(self, name: str) -> int:
        """Terminate a process, kill it after 30 s, and return its exit code."""
        process = self._running.pop(name)
        process.terminate()
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def wait_until_ready(self, name: str, url: str, seconds: float = 60, status: int = 200) -> None:
        """Wait until `url` responds with `status`; if the process exits instead, fail with its last lines."""

        def look() -> bool:
            if self._running[name].poll() is not None:
                msg = f"{name} ended with {self._running[name].returncode}:\n{self.last_lines(name)}"
                raise AssertionError(msg)
            try:
                return client.get(url).status_code == status
            except httpx2.HTTPError:
                return False

        # Without certificates, whose loading would take longer than all the requests.
        with httpx2.Client(timeout=10, verify=False) as client:
            try:
                wait_for(look, f"{name} at {url}", seconds)
            except AssertionError as exc:
                exc.add_note(self.last_lines(name))
                raise

    def last_lines(self, name: str) -> str:
        """Return the end of the stdout and stderr of a process."""
        tails = [
            file.read_text(errors="replace")[-2000:] for file in (self.output(name), self.errors(name)) if file.exists()
        ]
        return "\n".join(tails)


def all_exited(pids: Sequence[int]) -> bool:
    """Return whether none of the processes is running; zombies do not count as running."""
    listed = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=", "-p", ",".join(map(str, pids))],  # noqa: S607
        check=False,
        capture_output=True,
        text=True,
    )
    return all(state.startswith("Z") for state in listed.stdout.split())
