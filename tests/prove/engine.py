"""The stack of docker compose under a project name of its own, so that nobody's data is touched."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PROJECT = os.environ.get("COMPOSE_PROJECT_NAME", "spike-to-log-proof")
_ENVIRONMENT = {**os.environ, "COMPOSE_PROJECT_NAME": PROJECT}


def docker(*arguments: str, seconds: float = 180, text: str = "") -> str:
    """Run docker and return what it printed; one that fails is an error that shows what it said."""
    done = subprocess.run(  # noqa: S603
        ["docker", *arguments],  # noqa: S607
        env=_ENVIRONMENT,
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if done.returncode:
        msg = f"docker {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}"
        raise AssertionError(msg)
    return done.stdout


def compose(*arguments: str, seconds: float = 300, **environment: str) -> str:
    """Run docker compose."""
    _ENVIRONMENT.update(environment)
    return docker("compose", *arguments, seconds=seconds)


def up(*options: str, **environment: str) -> float:
    """Start the stack on empty volumes; return how long it took until all was healthy."""
    down()
    compose("build", "--quiet", seconds=1800)
    began = time.monotonic()
    compose("up", "--wait", "--detach", "--quiet-pull", *options, seconds=600, **environment)
    return time.monotonic() - began


def down() -> None:
    """Stop it, and wipe its volumes."""
    compose("down", "--volumes", "--timeout", "5")


def containers(*services: str) -> list[str]:
    """Return the ids of the containers of services, or of all."""
    return compose("ps", "--all", "--quiet", *services).split()


def inspected(*ids: str) -> list[dict[str, Any]]:
    """Return what the engine says of containers."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", *ids))
    return found


def health(container: str) -> str:
    """Return `healthy`, `unhealthy` or `starting`, or the state of a container that does not run."""
    state = inspected(container)[0]["State"]
    return str(state["Health"]["Status"] if state["Running"] else state["Status"])


def becomes(container: str, status: str, seconds: float = 90) -> float:
    """Wait for a container's health; return how long that took."""
    began = time.monotonic()
    eventually(lambda: health(container) == status, f"{container} to be {status}", seconds, pause=0.2)
    return time.monotonic() - began


def kill_and_start(container: str) -> float:
    """Kill a container's process and start it again; return how long it took from the kill until it was healthy."""
    began = time.monotonic()
    docker("kill", "--signal", "KILL", container)
    docker("start", container)
    becomes(container, "healthy")
    return time.monotonic() - began


def signal(container: str, name: str) -> None:
    """Send a signal to all processes of a container, such as STOP: a process that hangs."""
    # The first process of a container cannot be stopped from within it; `pause` freezes the health check, too.
    pids = [row.split()[1] for row in docker("top", container).splitlines()[1:]]
    subprocess.run(["kill", f"-{name}", *pids], check=False)  # noqa: S603, S607 - this machine is the engine's


def lines(container: str) -> Iterator[str]:
    """Yield the lines that a container wrote, as far as its rotated files have them."""
    process = subprocess.Popen(  # noqa: S603
        ["docker", "logs", container],  # noqa: S607
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            yield line.removesuffix("\n")
    process.wait()


def executed(service: str, command: Sequence[str]) -> str:
    """Run a command in the container of a service, and return what it printed."""
    return compose("exec", "--no-TTY", service, *command, seconds=1200)
