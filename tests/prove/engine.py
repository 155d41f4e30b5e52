"""The stack of docker compose under a project name of its own, so that nobody's data is touched."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.load import locust
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {**os.environ, "COMPOSE_PROJECT_NAME": os.environ.get("COMPOSE_PROJECT_NAME", "spike-to-log-proof")}


def docker(*arguments: str, seconds: float = 180) -> str:
    """Run docker and return what it printed; one that fails is an error that shows what it said."""
    done = subprocess.run(
        ["docker", *arguments],  # noqa: S607
        env=_ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if done.returncode:
        msg = f"docker {' '.join(arguments)[:200]} ended with {done.returncode}: {done.stderr[-2000:]}"
        raise AssertionError(msg)
    return done.stdout


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """Start docker compose, and go on."""
    return subprocess.Popen(
        ["docker", "compose", *arguments],  # noqa: S607
        env=_ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def inside(service: str, *command: str) -> str:
    """Run a command in the first container of a service, and return what it printed."""
    return docker("compose", "exec", "--no-TTY", service, *command)


def load(users: int, rate: int, *options: str) -> subprocess.Popen[bytes]:
    """Make load from the container that is there for it; its own lines go nowhere."""
    return started("exec", "--no-TTY", "loadtest", *locust("http://api:8000", users, rate, *options, python="python"))


def up(*options: str, **environment: str) -> float:
    """Start the stack on empty volumes; return how long it took until all was healthy."""
    _ENVIRONMENT.update(environment)
    down()
    docker("compose", "build", "--quiet", seconds=1800)
    docker("compose", "create", "--quiet-pull", *options, seconds=1800)
    began = time.monotonic()
    docker("compose", "up", "--wait", "--detach", *options, seconds=600)
    return time.monotonic() - began


def down() -> None:
    """Stop it, and wipe its volumes."""
    docker("compose", "down", "--volumes", "--timeout", "5")


def containers(*services: str) -> dict[str, str]:
    """Return the ids of the containers of services, or of all, by their names: `api-replica-2`."""
    ids = docker("compose", "ps", "--all", "--quiet", *services).split()
    labels = {each["Id"]: each["Config"]["Labels"] for each in inspected(*ids)}
    return {
        f"{found['com.docker.compose.service']}-{found['com.docker.compose.container-number']}": name
        for name, found in sorted(labels.items(), key=lambda pair: pair[1]["com.docker.compose.service"])
    }


def inspected(*ids: str) -> list[dict[str, Any]]:
    """Return what the engine says of containers."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", *ids))
    return found


def health(*ids: str) -> list[str]:
    """Return `healthy`, `unhealthy` or `starting` of each container, or the state of one that does not run."""
    states = [each["State"] for each in inspected(*ids)]
    return [str(state["Health"]["Status"] if state["Running"] else state["Status"]) for state in states]


def become(ids: Sequence[str], status: str, seconds: float = 90) -> list[float]:
    """Wait until containers have a health; return how long each of them took."""
    began = time.monotonic()
    took: dict[str, float] = {}

    def look() -> bool:
        for name, now in zip(ids, health(*ids), strict=True):
            if now == status:
                took.setdefault(name, time.monotonic() - began)
        return len(took) == len(ids)

    eventually(look, f"{ids} to be {status}", seconds, pause=0.2)
    return [took[name] for name in ids]


def kill_and_start(*ids: str) -> list[float]:
    """Kill containers, and start them again; return how long each took until it was healthy."""
    began = time.monotonic()
    docker("kill", "--signal", "KILL", *ids)
    docker("start", *ids)
    passed = time.monotonic() - began
    return [passed + each for each in become(ids, "healthy")]


def signal(name: str, *ids: str) -> None:
    """Send STOP or CONT to all processes of containers; the engine itself reaches the first one only."""
    docker("kill", "--signal", name, *ids)
    for container in ids:
        with suppress(AssertionError):  # there is no shell in it, or no other process
            docker("exec", container, "sh", "-c", f"kill -{name} -1")


def save_lines(container: str, path: Path) -> None:
    """Write the lines that a container wrote to a file, as far as its rotated files have them."""
    with path.open("wb") as file:
        subprocess.run(["docker", "logs", container], check=True, stdout=file, stderr=file)  # noqa: S607
