"""The processes that send the requests of a measured run."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.options import RunOptions

_PDEATHSIG = Path(__file__).with_name("pdeathsig.py")

_START_TIMEOUT = 60  # seconds
_QUIT_TIMEOUT = 10  # seconds
# After the last request is sent: the longest wait for a response, and time to write the files.
_END_TIMEOUT = 180  # seconds
_LEAD = 0.5  # seconds before the first request, so that every generator has started


class StartError(Exception):
    """A generator did not start."""


class Generators:
    """The processes of one run; they have all ended when the `with` block ends."""

    def __init__(self, options: RunOptions) -> None:
        """Prepare as many processes as `options` name."""
        self._options = options
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - read after the block, too
        self._processes: list[subprocess.Popen[bytes]] = []
        self.interrupted = False
        self.weights: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Start the processes."""
        for worker in range(self._options.workers):
            command = [sys.executable, "-m", "loadtest.generator", str(worker)]
            # In a new session, Ctrl-C in the terminal reaches only the parent, which stops the run in order.
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, str(_PDEATHSIG), str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={"PROMETHEUS_URL": "http://127.0.0.1:9090", **os.environ},
                start_new_session=True,
            )
            self._processes.append(process)
            self._write(process, self._options.model_dump_json())
        return self

    def begin(self) -> float:
        """Start the run as soon as all processes are ready; return its begin in seconds since 1970."""
        deadline = time.monotonic() + _START_TIMEOUT
        for process in self._processes:
            pipe = process.stdout
            if pipe is None or not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                msg = f"A generator did not start within {_START_TIMEOUT} s"
                raise StartError(msg)
            if not (ready := pipe.readline()):
                msg = "A generator did not start"
                raise StartError(msg)
            self.weights = json.loads(ready)
        begin = time.time() + _LEAD
        for process in self._processes:
            self._write(process, repr(begin))
        return begin

    def _write(self, process: subprocess.Popen[bytes], text: str) -> None:
        if process.stdin is not None:
            try:
                process.stdin.write(f"{text}\n".encode())
                process.stdin.flush()
            except BrokenPipeError:
                return  # it has ended, which shows in its exit code

    def stop(self) -> None:
        """Stop the run: the first time wait for responses, the second time at once."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL if self.interrupted else signal.SIGINT)
        self.interrupted = True

    def wait(self) -> int:
        """Wait for the end of the run; return how many processes did not end by themselves."""
        deadline = time.monotonic() + self._options.plan.seconds + _END_TIMEOUT
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        return sum(process.wait() != 0 for process in self._processes)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes that still run."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_QUIT_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def warnings(self) -> list[str]:
        """Return what the processes wrote to stderr, each line once."""
        self._stderr.seek(0)
        return list(dict.fromkeys(self._stderr.read().decode(errors="replace").splitlines()))
