"""The processes of the demo: two services and Locust, each with its output in a file."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import httpx2

from demo.errors import DemoError

_PROJECT = Path(__file__).parents[1]
_KILL_WITH_PARENT = _PROJECT / "loadtest" / "pdeathsig.py"

_START_TIMEOUT = 30  # seconds
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOP_TIMEOUT = 12  # seconds; a service takes at most 8 to stop
_PORT_ATTEMPTS = 3
_MAX_LINE = 8 * 1024  # bytes

# Overrides of what the user's shell may have set for other services; empty values mean the default.
_ENVIRONMENT = {"HOST": "127.0.0.1", "LOG_LEVEL": "debug", "WEB_CONCURRENCY": "1"} | dict.fromkeys(
    (
        "INSTANCE",
        "MAX_HEADER_BYTES",
        "MAX_BODY_BYTES",
        "MAX_CONNECTIONS",
        "CLIENT_TIMEOUT",
        "DATABASE_TIMEOUT",
        "PAYMENTS_TIMEOUT",
    ),
    "",
)


class Process:
    """A Python process whose output is appended to `<name>.jsonl`.

    It gets a new session, so that Ctrl-C reaches only the demo, which then stops its processes in order.
    """

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        """Start `python` with `arguments`; `env` is added to the environment."""
        self.name = name
        self._output = folder / f"{name}.jsonl"
        with self._output.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, str(_KILL_WITH_PARENT), str(os.getpid()), sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=_PROJECT,
                env={**os.environ, **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def require_running(self) -> None:
        """Raise `DemoError` if the process has ended."""
        if not self.is_running:
            code = self._process.returncode
            how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
            msg = f"{self.name} ended unexpectedly ({how}); {self.last_line()}"
            raise DemoError(msg)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`; raise `DemoError` if the process ends first, or after 30 seconds."""
        deadline = time.monotonic() + _START_TIMEOUT
        while not condition():
            self.require_running()
            if time.monotonic() > deadline:
                msg = f"{self.name} was not ready after {_START_TIMEOUT} s; {self.last_line()}"
                raise DemoError(msg)
            time.sleep(0.05)

    def has_logged(self, event: str) -> bool:
        """Return whether the output has a line of this event."""
        return f'"event":"{event}"' in self._output.read_text(errors="replace")

    def last_line(self) -> str:
        """Return the message of the last line of output, as the end of a sentence."""
        try:
            with self._output.open("rb") as file:
                file.seek(max(0, self._output.stat().st_size - _MAX_LINE))
                last = file.read().decode(errors="replace").strip().rpartition("\n")[2]
        except OSError:
            return "its output cannot be read"
        with suppress(ValueError, KeyError, TypeError):
            last = str(json.loads(last)["message"])
        return f'its last line: "{last[:200]}"' if last else "it wrote no output"

    def wait(self, timeout: float) -> int:
        """Return the exit code; kill the process after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            return self._process.wait()

    def stop(self, timeout: float) -> None:
        """Terminate the process; kill it after `timeout` seconds."""
        if self.is_running:
            self._signal(signal.SIGTERM)
        self.wait(timeout)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class Service(NamedTuple):
    """A service that is ready, and a client for it."""

    process: Process
    http: httpx2.Client

    @property
    def url(self) -> str:
        """The base URL."""
        return str(self.http.base_url).rstrip("/")

    def inject_fault(self, fault: str, seconds: int, seed: int, **targets: object) -> None:
        """Start a fault for some `users`, or for a `share` of all requests; it ends after `seconds`."""
        body = {"fault": fault, "seconds": seconds, "seed": seed, **targets}
        try:
            self.http.post("/faults", json=body, headers={"X-Fault-Lab": "demo"}).raise_for_status()
        except httpx2.HTTPError as exc:
            msg = f"The fault could not be injected ({type(exc).__name__}); {self.process.last_line()}"
            raise DemoError(msg) from exc


class Processes:
    """Start the processes of a run, and stop them at the end of the `with` block, the last one first."""

    def __init__(self, folder: Path) -> None:
        """Keep all files in `folder`."""
        self._folder = folder.resolve()
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        """Return the processes, none of which is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all processes; after an error or Ctrl-C, kill them after 2 seconds."""
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
        for process in reversed(self._running):
            process.stop(_STOP_TIMEOUT if kind is None else 2)
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def start_payments(self) -> Service:
        """Start the payments service and wait until it is ready."""
        return self._start_service("payments", {})

    def start_api(self, payments: Service) -> Service:
        """Start the main service with fault injection enabled, and wait until it is ready."""
        settings = {
            "DATABASE_URL": f"sqlite:///{self._folder}/demo.db",
            # A slow statement keeps its connection. With the default of 10, all users would soon wait for one.
            "DATABASE_POOL_SIZE": "40",
            "PAYMENTS_URL": payments.url,
            "FAULTS": "on",
        }
        return self._start_service("api", settings)

    def start_locust(self, host: str, users: int, seconds: int, seed: int) -> Process:
        """Start Locust without its web UI, and wait until its run has started.

        It writes one line per request to `requests.jsonl`, and ends by itself.
        """
        for name in [name for name in os.environ if name.startswith("LOCUST_")]:
            del os.environ[name]  # the user's settings for other load tests
        arguments = [
            "-m", "locust", "--locustfile", str(_PROJECT / "loadtest" / "locustfile.py"),
            "--host", host, "--headless",
            "--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s",
            # Longer than the slowest request, so that the end of the run cuts none off.
            "--stop-timeout", "15",
            "--incidents", "off", "--record", str(self._folder / "requests.jsonl"), "--seed", str(seed),
            "--skip-log-setup", "--exit-code-on-error", "0",
        ]  # fmt: skip
        locust = self._start("loadtest", arguments, {"INSTANCE": "-"})
        locust.wait_until(lambda: locust.has_logged("run.started"))
        return locust

    def _start_service(self, name: str, settings: Mapping[str, str]) -> Service:
        for _ in range(_PORT_ATTEMPTS):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
            process = self._start(name, ("-m", "app", name), {**_ENVIRONMENT, **settings, "PORT": str(port)})
            try:
                # Wait for its own line before the first request, because another program may have taken the port.
                process.wait_until(lambda process=process: process.has_logged("service.started"))  # type: ignore[misc]
            except DemoError:
                if process.is_running or "Cannot listen" not in process.last_line():
                    raise
                self._running.remove(process)
                continue
            http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False)
            process.wait_until(lambda http=http: _is_ready(http))  # type: ignore[misc]
            return Service(process, http)
        msg = f"{name} found no free port in {_PORT_ATTEMPTS} attempts"
        raise DemoError(msg)

    def _start(self, name: str, arguments: Sequence[str], env: Mapping[str, str]) -> Process:
        # A signal between the start and the append would leave the process running; it gets the signals unblocked.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process = Process(name, arguments, self._folder, env)
            self._running.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return process


def _is_ready(http: httpx2.Client) -> bool:
    try:
        return http.get("/readyz").status_code == HTTPStatus.OK
    except httpx2.HTTPError:
        return False
