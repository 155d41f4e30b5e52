"""`python -m loadtest`: Locust with its page, and a gentle run that starts by itself unless LOAD=off.

`python -m loadtest worker` makes requests for the one that has the page, which waits for LOAD_WORKERS of them.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import Field, HttpUrl, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

_LOCUST = [sys.executable, "-m", "locust", "--locustfile", str(Path(__file__).with_name("locustfile.py"))]


class LoadSettings(BaseSettings):
    """The environment variables of the load."""

    model_config = SettingsConfigDict(env_prefix="LOAD_", frozen=True, env_ignore_empty=True)

    auto: Annotated[Literal["on", "off"], Field(validation_alias="LOAD")] = "on"
    target: HttpUrl = HttpUrl("http://127.0.0.1:8000")
    users: Annotated[int, Field(ge=1, le=1000)] = 20
    run_time: Annotated[str, Field(pattern=r"^\d+[smh]$")] = "30m"
    incidents: Literal["on", "off"] = "on"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8089
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    master: str = "127.0.0.1"
    prometheus_url: Annotated[str, Field(pattern=r"^(https?://\S+)?$", validation_alias="PROMETHEUS_URL")] = ""

    def worker_command(self) -> list[str]:
        """Return the command line of a worker, which is told the rest by the one that leads."""
        return [*_LOCUST, "--skip-log-setup", "--worker", "--master-host", self.master]

    def command(self) -> list[str]:
        """Return Locust's command line; what a run would be like is also what its page suggests."""
        return [
            *_LOCUST,
            "--host", str(self.target).rstrip("/"),
            "--web-host", self.host, "--web-port", str(self.port),
            "--class-picker", "--users", str(self.users), "--spawn-rate", "10", "--run-time", self.run_time,
            "--incidents", self.incidents,
            # Longer than the slowest request, so that none is cut off when a run ends.
            "--stop-timeout", "15",
            "--skip-log-setup", "--exit-code-on-error", "0",
            *(["--autostart"] if self.auto == "on" else []),
            *(["--master", "--master-bind-host", self.host] if self.workers else []),
            "--expect-workers", str(max(self.workers, 1)),
        ]  # fmt: skip


def main() -> None:
    """Become Locust: it patches the standard library, so nothing else lives in its process."""
    if sys.argv[1:] not in ([], ["worker"]):
        _refuse("Usage: python -m loadtest [worker]")
    try:
        settings = LoadSettings()
    except ValidationError as exc:
        names = [str(error["loc"][0]) for error in exc.errors()]
        variables = [name if name.isupper() else f"LOAD_{name}".upper() for name in names]
        _refuse("; ".join(f"{name}: {error['msg']}" for name, error in zip(variables, exc.errors(), strict=True)))
    if sys.argv[1:]:
        os.environ["INSTANCE"] = f"{socket.gethostbyname(socket.gethostname())}:{os.getpid()}"
        command = settings.worker_command()
    else:
        _check_port(settings)
        address = socket.gethostbyname(socket.gethostname()) if settings.host == "0.0.0.0" else settings.host  # noqa: S104
        os.environ["INSTANCE"] = f"{address}:{settings.port}"
        command = settings.command()
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _check_port(settings: LoadSettings) -> None:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as exc:
        reason = str(exc.strerror).partition(" (")[0]  # the rest repeats the address
        _refuse(f"Cannot listen on {settings.host}:{settings.port}: {reason}. Set LOAD_HOST or LOAD_PORT.")


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
