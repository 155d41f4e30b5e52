"""`python -m bench.stack`: how soon the whole stack is healthy, and how much memory it takes.

Run it on a machine with nothing else to do: the wall clock of a busy one says nothing.
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
_IDLE = 60  # seconds of nothing to do before the first figure
_LOAD = 60  # seconds of load before the second
_USERS = 500  # each makes a request a second
_UNITS = {"B": 1 / 2**20, "KiB": 1 / 2**10, "MiB": 1.0, "GiB": 2.0**10}
# What was promised.
_SECONDS, _RESTING, _LOADED = 20, 700, 1024

_PAGE = """\
# What the whole stack takes

Written by `make bench-stack`: docker-compose.yml as it is, on empty volumes, the images there, {rounds} times;
{cores} cores, and a load of {load:.1f} when it began. Memory is what the engine shows, without the cache of files, of
all containers together.

{table}

Memory of each part in MiB, the most of all rounds:

{parts}
"""

Memory = Mapping[str, float]


def main() -> None:
    """Measure a few rounds, and write the page."""
    load = os.getloadavg()[0]
    rounds = []
    try:
        rounds = [_round() for _ in range(_ROUNDS)]
    finally:
        engine.down()
    rows = [
        _row("`up` to healthy", "s", [each[0] for each in rounds], _SECONDS),
        _row(f"memory after {_IDLE} s without load", "MiB", [sum(each[1].values()) for each in rounds], _RESTING),
        _row(f"memory after {_LOAD} s of load", "MiB", [sum(each[2].values()) for each in rounds], _LOADED),
        _row("requests/s of that load", "", [each[3] for each in rounds], None),
    ]
    found = table(["what", "found, each time", "promised"], rows)
    parts = table(
        ["part", "without load", "under load"], _parts([each[1] for each in rounds], [each[2] for each in rounds])
    )
    RESULTS.write_text(_PAGE.format(rounds=_ROUNDS, cores=os.cpu_count(), load=load, table=found, parts=parts))


def _round() -> tuple[float, Memory, Memory, float]:
    took = engine.up(LOAD="off")
    time.sleep(_IDLE)
    resting = memory()
    with _loaded():
        time.sleep(_LOAD / 2)
        before, began = _requests(), time.monotonic()
        time.sleep(_LOAD / 2)
        rate = (_requests() - before) / (time.monotonic() - began)
        loaded = memory()
    return took, resting, loaded, rate


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
    """Make load, which ends by itself after the block."""
    process = engine.load(_USERS, 100, "--run-time", f"{_LOAD + 15}s")
    try:
        yield
    finally:
        process.wait(120)


def _requests() -> float:
    """Return how many requests the service has finished."""
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    return sum_samples(engine.inside("api", "python", "-c", read), "http_request_duration_seconds_count")


def _row(what: str, unit: str, found: Sequence[float], promised: float | None) -> list[str]:
    cells = ", ".join(f"{each:,.1f}" if unit == "s" else f"{each:,.0f}" for each in found)
    return [what, f"{cells} {unit}".strip(), f"at most {promised:,} {unit}" if promised else ""]


def _parts(resting: Sequence[Memory], loaded: Sequence[Memory]) -> Iterator[list[str]]:
    for name in sorted(resting[0]):
        yield [name.removesuffix("-1"), *(f"{max(each[name] for each in rounds):.0f}" for rounds in (resting, loaded))]


if __name__ == "__main__":
    main()
