"""`python -m loadtest`: Locust with its web UI, and a run that starts automatically unless LOAD=off.

`python -m loadtest worker` sends requests for a master with LOAD_WORKERS above 0.
"""

import os
import socket
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import Field, HttpUrl, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

# With --skip-log-setup the output is JSON lines.
_LOCUST = [
    sys.executable, "-m", "locust", "--skip-log-setup", "--locustfile", str(Path(__file__).with_name("locustfile.py")),
]  # fmt: skip

cli = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


class Role(StrEnum):
    """What a process does."""

    MASTER = "master"
    WORKER = "worker"


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

    def master_command(self) -> list[str]:
        """Return the command line of Locust with its web UI, whose form suggests the same settings."""
        return [
            *_LOCUST,
            "--web-host", self.host, "--web-port", str(self.port),
            "--class-picker", "--users", str(self.users), "--spawn-rate", "10", "--run-time", self.run_time,
            "--incidents", self.incidents,
            "--stop-timeout", "15",  # longer than the slowest request
            "--exit-code-on-error", "0",
            *(["--autostart"] if self.auto == "on" else []),
            *(["--master", "--master-bind-host", self.host] if self.workers else []),
            "--expect-workers", str(max(self.workers, 1)),
        ]  # fmt: skip

    def worker_command(self) -> list[str]:
        """Return the command line of a worker, which gets its options from the master."""
        return [*_LOCUST, "--worker", "--master-host", self.master]


@cli.command()
def main(role: Annotated[Role, typer.Argument(help="What this process does.")] = Role.MASTER) -> None:
    """Run Locust with the settings in the LOAD_* environment variables."""
    try:
        settings = LoadSettings()
    except ValidationError as exc:
        errors = [(str(error["loc"][0]), error["msg"]) for error in exc.errors()]
        typer.echo(
            "; ".join(f"{name if name.isupper() else f'LOAD_{name}'.upper()}: {msg}" for name, msg in errors), err=True
        )
        raise typer.Exit(2) from None
    address = socket.gethostbyname(socket.gethostname())
    if role is Role.WORKER:
        os.environ.setdefault("INSTANCE", f"{address}:{os.getpid()}")
        command = settings.worker_command()
    else:
        _check_port(settings)
        host = address if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - compared, not bound
        os.environ.setdefault("INSTANCE", f"{host}:{settings.port}")
        # Not in the command line, which every user of the machine can read: it may contain a password.
        os.environ["LOCUST_HOST"] = str(settings.target).rstrip("/")
        command = settings.master_command()
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _check_port(settings: LoadSettings) -> None:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as exc:
        reason = str(exc.strerror).partition(" (")[0]  # the rest repeats the address
        typer.echo(f"Cannot listen on {settings.host}:{settings.port}: {reason}. Set LOAD_HOST or LOAD_PORT.", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    cli()
