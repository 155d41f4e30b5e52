"""Run a variant as a process that listens on loopback."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import httpx2
import psutil

from bench.application import PATH, headers
from bench.variants import Variant

_START_TIMEOUT = 30  # seconds
_STOP_TIMEOUT = 10


class Served(NamedTuple):
    """A running variant."""

    url: str
    process: psutil.Process

    def cpu(self) -> float:
        """Return the CPU seconds that the process has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def served(variant: Variant, output: Path) -> Iterator[Served]:
    """Run `variant` until the `with` block ends; write its log lines to `output`."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening, output.open("ab") as out:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        command = [sys.executable, "-m", "bench.serve", variant.name, str(listening.fileno())]
        process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
            cwd=Path(__file__).parents[1],
        )
    try:
        _wait(url, process)
        yield Served(url, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = monotonic() + _START_TIMEOUT
    while monotonic() < deadline and process.poll() is None:
        try:
            httpx2.get(url + PATH, headers=headers(), timeout=5).raise_for_status()
        except httpx2.TransportError:
            sleep(0.05)
        else:
            return
    msg = f"The server at {url} does not answer (exit code {process.poll()})."
    raise RuntimeError(msg)
