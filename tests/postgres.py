"""A real PostgreSQL server as in docker-compose.yml: on a Unix socket only, and without a password."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes import Processes
from tests.waiting import wait_for


def start_postgres(processes: Processes) -> str:
    """Start PostgreSQL in the folder of `processes`; return its `DATABASE_URL`."""
    data, sockets = processes.folder / "postgres", processes.folder / "sockets"
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    for folder in (data, sockets):
        folder.mkdir()
        if user:
            shutil.chown(folder, user)
    processes.run("initdb", [program("initdb"), "-D", data, "-U", "app", "-A", "trust", "--no-sync"], user)
    serve_postgres(processes)
    wait_for(lambda: list(sockets.glob(".s.PGSQL.*")), "PostgreSQL's socket")
    return f"postgresql://app@/postgres?host={sockets}"


def serve_postgres(processes: Processes) -> None:
    """Start or restart the PostgreSQL server."""
    data, sockets = processes.folder / "postgres", processes.folder / "sockets"
    command: list[str | Path] = [program("postgres"), "-D", data, "-k", sockets, "-c", "listen_addresses="]
    processes.start("postgres", command, user="postgres" if os.geteuid() == 0 else None)


def create_database(url: str, name: str) -> str:
    """Create an empty database on the server of `url`; return its URL."""
    sockets = url.partition("?host=")[2]
    subprocess.run([program("createdb"), "-h", sockets, "-U", "app", name], check=True)  # noqa: S603
    return url.replace("/postgres?", f"/{name}?")


def program(name: str) -> Path:
    """Return the path of a PostgreSQL program, which is not on the PATH on Debian; skip if it is not installed."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    if found is None:
        pytest.skip(f"{name} of PostgreSQL is not installed: run apt install postgresql")
    return Path(found)
