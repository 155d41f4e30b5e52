"""The second half: each variant behind a uvicorn of its own, asked by wrk."""

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
_SETTLE = 1  # seconds that nobody measures


def there() -> bool:
    """Return whether the load generator is."""
    return shutil.which(GENERATOR) is not None


def measure(variants: Mapping[str, Variant], rounds: int, seconds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of a request, one for each round, by variant; the order changes each round."""
    measured: dict[str, list[float]] = {name: [] for name in variants}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(served(variant, Path("/dev/null"))) for name, variant in variants.items()}
        for server in servers.values():
            _ask(server, _SETTLE)
        order, shuffled = list(servers), random.Random(1)  # noqa: S311 - an order
        for _ in range(rounds):
            shuffled.shuffle(order)
            for name in order:
                measured[name].append(_ask(servers[name], seconds))
    return measured


def _ask(server: Served, seconds: int) -> float:
    command = [GENERATOR, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    for name, value in headers().items():
        command += ["-H", f"{name}: {value}"]
    before = server.cpu()
    told = subprocess.run([*command, server.url + PATH], check=True, capture_output=True, text=True).stdout  # noqa: S603
    used = server.cpu() - before
    done = re.search(r"(\d+) requests in", told)
    if done is None or "Non-2xx" in told or "Socket errors" in told:
        msg = f"{GENERATOR} said:\n{told}"
        raise RuntimeError(msg)
    return used / int(done[1])
