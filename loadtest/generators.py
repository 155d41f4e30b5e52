"""The processes of a measured run: Locust alone, or one that leads and others that generate."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.options import RunOptions

_LEASH = Path(__file__).with_name("leash.py")

# Longer than a client waits for an answer, so that nothing that was sent is cut off.
_STOP = 65  # seconds
_QUIT = 10  # seconds
_CONNECT = 30  # seconds


class Generators:
    """Locust's processes, which are all gone at the end of the `with` block."""

    def __init__(self, options: RunOptions) -> None:
        """Prepare those that `options` ask for."""
        self._options = options
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it is read after the block, too
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start them, the leading one first."""
        if self._options.workers == 1:
            self._start()
            return self
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        expected = ["--expect-workers", str(self._options.workers), "--expect-workers-max-wait", str(_CONNECT)]
        self._start("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, *expected)
        for _ in range(self._options.workers):
            self._start("--worker", "--master-host", "127.0.0.1", "--master-port", port)
        return self

    def _start(self, *role: str) -> None:
        command = [
            sys.executable, str(_LEASH), str(os.getpid()),
            sys.executable, "-m", "locust", "--locustfile", str(Path(__file__).with_name("measured.py")),
            "--headless", "--only-summary", "--skip-log-setup", "--exit-code-on-error", "0",
            "--host", self._options.url, "--stop-timeout", str(_STOP),
            "--measured", self._options.model_dump_json(), *role,
        ]  # fmt: skip
        # A session of its own: Ctrl-C in the terminal is for us, and we hand it on to the one that leads.
        self._processes.append(
            subprocess.Popen(  # noqa: S603 - ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env={"PROMETHEUS_URL": "http://127.0.0.1:9090", **os.environ},
                start_new_session=True,
            )
        )

    def interrupt(self) -> None:
        """Ask the one that leads to end the run in good order."""
        self._processes[0].send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End all of them now."""
        for process in self._processes:
            process.kill()

    def wait(self) -> int:
        """Wait for the end of the run, at most a while longer than it can take; return how many workers were lost."""
        most = _CONNECT + self._options.plan.seconds + 2 * (_STOP + 60)
        try:
            self._processes[0].wait(most)
        except subprocess.TimeoutExpired:
            self.kill()
        return sum(process.poll() is not None for process in self._processes[1:])

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop those that are still there: workers outlive the one that leads."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_QUIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def complaints(self) -> Iterator[str]:
        """Yield what the processes warned of, each warning once."""
        self._output.seek(0)
        told: dict[str, None] = {}
        for text in self._output.read().decode(errors="replace").splitlines():
            try:
                said = json.loads(text)
            except ValueError:
                told[text] = None
            else:
                if isinstance(said, dict) and said.get("level") in {"warning", "error", "critical"}:
                    told[str(said["message"])] = None
        yield from told
