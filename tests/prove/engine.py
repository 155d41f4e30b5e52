"""Control docker compose, with a separate project name that protects the data of other stacks."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.load import locust
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {**os.environ, "COMPOSE_PROJECT_NAME": os.environ.get("COMPOSE_PROJECT_NAME", "spike-to-log-proof")}


def docker(*arguments: str, seconds: float = 180) -> str:
    """Run docker and return its output; raise `AssertionError` with its errors if it fails."""
    done = subprocess.run(
        ["docker", *arguments],
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


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start docker compose without waiting."""
    return subprocess.Popen(
        ["docker", "compose", *arguments],
        env=_ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def execute(service: str, *command: str) -> str:
    """Run a command in the first container of a service, and return its output."""
    return docker("compose", "exec", "--no-TTY", service, *command)


def load(users: int, rate: int, *options: str) -> subprocess.Popen[bytes]:
    """Generate load from the loadtest container; its log lines are not collected."""
    return start("exec", "--no-TTY", "loadtest", *locust("http://api:8000", users, rate, *options, python="python"))


def up(*options: str, **environment: str) -> float:
    """Start the stack on empty volumes; return the seconds until all containers were healthy."""
    _ENVIRONMENT.update(environment)
    down()
    docker("compose", "build", "--quiet", seconds=1800)
    docker("compose", "create", "--quiet-pull", *options, seconds=1800)
    began = time.monotonic()
    docker("compose", "up", "--wait", "--detach", *options, seconds=600)
    return time.monotonic() - began


def down() -> None:
    """Stop the stack and delete its volumes."""
    docker("compose", "down", "--volumes", "--timeout", "5")


def containers(*services: str) -> dict[str, str]:
    """Return the ids of the containers of some or all services, by names like `api-replica-2`."""
    ids = docker("compose", "ps", "--all", "--quiet", *services).split()
    labels = {each["Id"]: each["Config"]["Labels"] for each in inspect(*ids)}
    return {
        f"{of_container['com.docker.compose.service']}-{of_container['com.docker.compose.container-number']}": name
        for name, of_container in sorted(labels.items(), key=lambda pair: pair[1]["com.docker.compose.service"])
    }


def inspect(*ids: str) -> list[dict[str, Any]]:
    """Return the output of `docker inspect`."""
    details: list[dict[str, Any]] = json.loads(docker("inspect", *ids))
    return details


def health(*ids: str) -> list[str]:
    """Return the health of each container, or its state if it is not running."""
    states = [each["State"] for each in inspect(*ids)]
    return [str(state["Health"]["Status"] if state["Running"] else state["Status"]) for state in states]


def wait_for_health(ids: Sequence[str], status: str, seconds: float = 90) -> list[float]:
    """Wait until containers have a health status; return the seconds that each of them took."""
    began = time.monotonic()
    took: dict[str, float] = {}

    def look() -> bool:
        for name, now in zip(ids, health(*ids), strict=True):
            if now == status:
                took.setdefault(name, time.monotonic() - began)
        return len(took) == len(ids)

    wait_for(look, f"{ids} to be {status}", seconds, pause=0.2)
    return [took[name] for name in ids]


def kill_and_start(*ids: str) -> list[float]:
    """Kill and restart containers; return the seconds until each of them was healthy."""
    began = time.monotonic()
    docker("kill", "--signal", "KILL", *ids)
    docker("start", *ids)
    elapsed = time.monotonic() - began
    return [elapsed + each for each in wait_for_health(ids, "healthy")]


def signal(name: str, *ids: str) -> None:
    """Send STOP or CONT to all processes of containers; `docker kill` signals only the first process of each."""
    docker("kill", "--signal", name, *ids)
    for container in ids:
        with suppress(AssertionError):  # the container has no shell or no other process
            docker("exec", container, "sh", "-c", f"kill -{name} -1")


def save_lines(container: str, path: Path) -> None:
    """Save the output of a container to a file, as far as it is in the rotated log files."""
    with path.open("wb") as file:
        subprocess.run(["docker", "logs", container], check=True, stdout=file, stderr=file)
