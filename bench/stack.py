"""`python -m bench.stack`: measure the start-up time and memory of the whole stack.

Run it on an idle machine: on a busy one, wall-clock times are meaningless.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.report import table
from tests.prove import engine
from triage.stores.prometheus import sum_samples

RESULTS = Path(__file__).with_name("STACK.md")
_ROUNDS = 3
_IDLE = 60  # seconds without load before the first measurement of memory
_LOAD = 60  # seconds of load before the second
_USERS = 500  # each sends one request per second
_UNITS = {"B": 1 / 2**20, "KiB": 1 / 2**10, "MiB": 1.0, "GiB": 2.0**10}
# The promised maximum of each figure.
_MAX_SECONDS, _MAX_IDLE, _MAX_LOADED = 20, 700, 1024

_PAGE = """\
# Start-up time and memory of the stack

Written by `make bench-stack`: {rounds} rounds with the unchanged docker-compose.yml, empty volumes and images that are
already built, on {cores} cores with a load average of {load:.1f} at the start. Memory is the sum over all containers as
`docker stats` shows it, without the page cache.

{table}

Memory of each service in MiB, maximum of all rounds:

{parts}
"""

Memory = Mapping[str, float]


def main() -> None:
    """Measure a few rounds and write the page."""
    load = os.getloadavg()[0]
    rounds = []
    try:
        rounds = [_round() for _ in range(_ROUNDS)]
    finally:
        engine.down()
    rows = [
        _row("`up` to healthy", "s", [each[0] for each in rounds], _MAX_SECONDS),
        _row(f"memory after {_IDLE} s without load", "MiB", [sum(each[1].values()) for each in rounds], _MAX_IDLE),
        _row(f"memory after {_LOAD} s of load", "MiB", [sum(each[2].values()) for each in rounds], _MAX_LOADED),
        _row("requests/s of that load", "", [each[3] for each in rounds], None),
    ]
    figures = table(["figure", "measured in each round", "promised"], rows)
    parts = table(
        ["service", "without load", "under load"], _parts([each[1] for each in rounds], [each[2] for each in rounds])
    )
    RESULTS.write_text(_PAGE.format(rounds=_ROUNDS, cores=os.cpu_count(), load=load, table=figures, parts=parts))


def _round() -> tuple[float, Memory, Memory, float]:
    took = engine.up(LOAD="off")
    time.sleep(_IDLE)
    idle = memory()
    with _loaded():
        time.sleep(_LOAD / 2)
        before, began = _requests(), time.monotonic()
        time.sleep(_LOAD / 2)
        rate = (_requests() - before) / (time.monotonic() - began)
        loaded = memory()
    return took, idle, loaded, rate


def memory() -> Memory:
    """Return the memory of each container in MiB, by service and number."""
    names = {container[:12]: name for name, container in engine.containers().items()}
    rows = map(json.loads, engine.docker("stats", "--no-stream", "--format", "{{json .}}").splitlines())
    return {names[row["ID"]]: _mebibytes(row["MemUsage"].split(" / ")[0]) for row in rows if row["ID"] in names}


def _mebibytes(text: str) -> float:
    digits = text.rstrip("BKMGi")
    return float(digits) * _UNITS[text.removeprefix(digits)]


@contextmanager
def _loaded() -> Iterator[None]:
    """Generate load, which ends by itself after the block."""
    process = engine.load(_USERS, 100, "--run-time", f"{_LOAD + 15}s")
    try:
        yield
    finally:
        process.wait(120)


def _requests() -> float:
    """Return how many requests the service has finished."""
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    return sum_samples(engine.execute("api", "python", "-c", read), "http_request_duration_seconds_count")


def _row(name: str, unit: str, values: Sequence[float], promised: float | None) -> list[str]:
    cells = ", ".join(f"{each:,.1f}" if unit == "s" else f"{each:,.0f}" for each in values)
    return [name, f"{cells} {unit}".strip(), f"at most {promised:,} {unit}" if promised else ""]


def _parts(idle: Sequence[Memory], loaded: Sequence[Memory]) -> Iterator[list[str]]:
    for name in sorted(idle[0]):
        yield [name.removesuffix("-1"), *(f"{max(each[name] for each in rounds):.0f}" for rounds in (idle, loaded))]


if __name__ == "__main__":
    main()
