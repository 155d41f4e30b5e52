"""Real processes on loopback, which are all gone when a test is done."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from tests.waiting import eventually


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def short_folder() -> Path:
    """Make a folder whose path is short enough for a socket in it, and that PostgreSQL's user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="spike-"))
    folder.chmod(0o755)
    return folder


class Processes:
    """Processes by name, each with its stdout and stderr in files."""

    def __init__(self, folder: Path) -> None:
        """Keep the files in `folder`."""
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Begin with none."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop them all, the last started first."""
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
        """Start a process, in this project's folder unless `cwd` is another; `env` is added to the environment."""
        with self.output(name).open("ab") as out, self.errors(name).open("ab") as err:
            self._running[name] = subprocess.Popen(  # noqa: S603 - commands of these tests
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
        """Run a process to its end; one that fails is an error that shows its last lines."""
        self.start(name, command, user=user)
        if code := self._running.pop(name).wait(60):
            msg = f"{name} ended with {code}:\n{self.last_lines(name)}"
            raise AssertionError(msg)

    def output(self, name: str) -> Path:
        """Return the file of a process's stdout."""
        return self.folder / f"{name}.jsonl"

    def errors(self, name: str) -> Path:
        """Return the file of a process's stderr."""
        return self.folder / f"{name}.err"

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a process, wait for its end, and return its exit code."""
        process = self._running.pop(name)
        process.send_signal(number)
        return process.wait(30)

    def wait(self, name: str, seconds: float = 60) -> int:
        """Wait for a process's own end, and return its exit code."""
        return self._running.pop(name).wait(seconds)

    def pid(self, name: str) -> int:
        """Return a process's id."""
        return self._running[name].pid

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a process, and go on."""
        self._running[name].send_signal(number)

    def stop(self, name: str) -> int:
        """Ask a process to stop, insist after 15 s, and return its exit code."""
        process = self._running.pop(name)
        process.terminate()
        try:
            return process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def answers(self, name: str, url: str, seconds: float = 30, status: int = 200) -> None:
        """Wait until `url` gives `status`; a process that ended instead is an error that shows its last lines."""

        def look() -> bool:
            if self._running[name].poll() is not None:
                msg = f"{name} ended with {self._running[name].returncode}:\n{self.last_lines(name)}"
                raise AssertionError(msg)
            try:
                return httpx2.get(url, timeout=5).status_code == status
            except httpx2.HTTPError:
                return False

        try:
            eventually(look, f"{name} at {url}", seconds)
        except AssertionError as exc:
            exc.add_note(self.last_lines(name))
            raise

    def last_lines(self, name: str) -> str:
        """Return the ends of a process's files."""
        ends = [
            file.read_text(errors="replace")[-2000:] for file in (self.output(name), self.errors(name)) if file.exists()
        ]
        return "\n".join(ends)


def gone(pids: Sequence[int]) -> bool:
    """Whether none of the processes runs; one that nobody has asked for its exit code does not."""
    listed = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=", "-p", ",".join(map(str, pids))],  # noqa: S607
        check=False,
        capture_output=True,
        text=True,
    )
    return all(state.startswith("Z") for state in listed.stdout.split())
