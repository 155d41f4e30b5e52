"""The processes of the demo: each has its output in a file, and none is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PROJECT = Path(__file__).parents[1]

_PDEATHSIG = PROJECT / "loadtest" / "pdeathsig.py"
_PATIENCE = 12  # seconds until a child that was asked to stop is killed; a service takes at most 8
_LONGEST_LINE = 8 * 1024


class DemoError(Exception):
    """A sentence that says what went wrong; the exit code is 1."""


class Child:
    """One process in a session of its own: Ctrl-C is for the demo, which then stops its children in order."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        """Start `python` with `arguments`; `env` is added to the environment."""
        self.name = name
        self.output = folder / f"{name}.jsonl"
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, str(_PDEATHSIG), str(os.getpid()), sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env={**os.environ, **env},
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise `DemoError` if it ended."""
        if not self.alive:
            msg = f"{self.name} ended in the middle ({_how(self.process.returncode)}); {self.last_words()}"
            raise DemoError(msg)

    def said(self, event: str) -> bool:
        """Whether it wrote a line of this event."""
        return f'"event":"{event}"' in self.output.read_text(errors="replace")

    def last_words(self) -> str:
        """Return the last that it said, as the end of a sentence."""
        with suppress(OSError), self.output.open("rb") as file:
            file.seek(max(0, self.output.stat().st_size - _LONGEST_LINE))
            lines = file.read().decode(errors="replace").strip().split("\n")
            return f'its last line: "{_message(lines[-1])}"' if lines[-1] else "it said nothing"
        return "its lines cannot be read"

    def stop(self, patience: float = _PATIENCE) -> int:
        """Ask it to stop, insist after `patience` seconds, and return its exit code."""
        if self.alive:
            self._signal(signal.SIGTERM)
            try:
                return self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
        return self.process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


class Children:
    """All of them, in the order in which they were started."""

    def __init__(self) -> None:
        """Begin with none."""
        self._running: list[Child] = []

    def __enter__(self) -> Self:
        """Keep them while this is open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop them all, the last started first; whoever gave up does not wait long for them."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        for child in reversed(self._running):
            child.stop(_PATIENCE if kind is None else 2)
        for number, handler in before.items():
            signal.signal(number, handler)

    def start(self, name: str, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> Child:
        """Start one."""
        # A signal between the start and the list would leave it behind.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            child = Child(name, arguments, folder, env)
            self._running.append(child)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return child

    def forget(self, child: Child) -> None:
        """Leave out one that ended, and is to be replaced."""
        self._running.remove(child)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _message(line: str) -> str:
    try:
        return str(json.loads(line)["message"])
    except (ValueError, KeyError, TypeError):
        return line[:200]


def wait_until(deadline: float) -> None:
    """Sleep until the monotonic clock says `deadline`."""
    time.sleep(max(0.0, deadline - time.monotonic()))
