"""Measure the variants over HTTP: each runs in a separate uvicorn process, and wrk sends the requests."""

import random
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from bench.application import PATH, headers
from bench.served import Served, served
from bench.variants import Variant

GENERATOR = "wrk"
CONNECTIONS = 8


def has_generator() -> bool:
    """Return whether the load generator is installed."""
    return shutil.which(GENERATOR) is not None


def measure(variants: Mapping[str, Variant], rounds: int, seconds: int, warm_up: int) -> dict[str, list[float]]:
    """Return the CPU seconds per request by variant, one value for each round; the order changes each round.

    Before the first round, each variant serves requests for `warm_up` seconds.
    """
    measured: dict[str, list[float]] = {name: [] for name in variants}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(served(variant, Path("/dev/null"))) for name, variant in variants.items()}
        if warm_up:
            for server in servers.values():
                _run(server, warm_up)
        order, rng = list(servers), random.Random(1)  # noqa: S311 - an order
        for _ in range(rounds):
            rng.shuffle(order)
            for name in order:
                measured[name].append(_run(servers[name], seconds))
    return measured


def _run(server: Served, seconds: int) -> float:
    command = [GENERATOR, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    for name, value in headers().items():
        command += ["-H", f"{name}: {value}"]
    before = server.cpu()
    output = subprocess.run([*command, server.url + PATH], check=True, capture_output=True, text=True).stdout  # noqa: S603
    used = server.cpu() - before
    requests = re.search(r"(\d+) requests in", output)
    if requests is None or "Non-2xx" in output or "Socket errors" in output:
        msg = f"{GENERATOR} failed:\n{output}"
        raise RuntimeError(msg)
    return used / int(requests[1])
