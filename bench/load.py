"""`python -m bench.load`: what an open and a closed loop say of the same stall, and what one core generates."""

import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import loops
from bench.report import table
from demo.processes import Processes, Service
from loadtest.thresholds import read_thresholds
from loadtest.verdict import Verdict, judge
from triage.stores.runs import RunFolder

RESULTS = Path(__file__).with_name("LOAD.md")
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "loops.svg"

_THRESHOLDS = Path(__file__).parents[1] / "loadtest" / "thresholds.toml"
_RATE, _SECONDS = 100, 60
_STOPPED_AT, _STOPPED = 25, 5  # seconds
_ROUNDS = 3
_ALONE = 20  # seconds of a round of what one core generates
_ROUTE = "/orders?user_id=17&limit=50"  # what a `Report` asks for
_CONNECTIONS = 10

_PAGE = """\
# What the load says, and what it costs

Written by `make bench-load` on {cores} cores.

## The same stall, seen by two loops

{rate} requests a second for {seconds} s, of users who browse; after {at} s the service is stopped for {stopped} s
(SIGSTOP), and goes on. The verdict is that of the shipped thresholds.

{loops}

![Latency over time, as each loop sees it](../docs/pictures/loops.svg)

What the verdict says of the closed loop: {says}

## What one core generates

One route, `GET {route}`: the generator of `make load` in the open loop at {rate} requests a second, and `wrk` with one
thread and {connections} connections, {rounds} rounds of {alone} s each in turn. CPU time of the generator's process,
user and system, of the seconds in which it generates, divided by its requests.

{generators}

One core of the first makes {ratio:.0f} times the work of `wrk` for a request: it is Python, gives each request ids of
its own, and keeps a line of it. Above 90 % of a core a run is INVALID; then take `WORKERS=2`.
"""


class Said(NamedTuple):
    """A run's verdict, and when and how long its requests were."""

    verdict: Verdict
    requests: loops.Requests


def main() -> None:
    """Measure, and write the page and its picture."""
    if not (wrk := shutil.which("wrk")):
        sys.exit("wrk is not here; apt install wrk.")
    said = {loop: _stalled(loop) for loop in ("open", "closed")}
    PICTURE.write_text(loops.picture({loop: each.requests for loop, each in said.items()}, _SECONDS))
    ours, theirs = _generators(wrk)
    page = _PAGE.format(
        cores=os.cpu_count(), rate=_RATE, seconds=_SECONDS, at=_STOPPED_AT, stopped=_STOPPED, alone=_ALONE,
        loops=table(["loop", "requests", "p50", "p95", "p99", "longest", "verdict of the run"],
                    [_row(loop, each) for loop, each in said.items()]),
        says=" ".join(said["closed"].verdict.reasons), route=_ROUTE, connections=_CONNECTIONS, rounds=_ROUNDS,
        generators=table(["generator", "us of CPU a request, each round", "requests a second of one core"],
                         [_cost("make load", ours), _cost("wrk", theirs)]),
        ratio=statistics.median(ours) / statistics.median(theirs),
    )  # fmt: skip
    RESULTS.write_text(page)
    sys.stdout.write(page)


def _stalled(loop: str) -> Said:
    """Make a run in the middle of which the service stands still."""
    with _service() as (service, folder):
        # Those who browse ask for little, so that what has queued up is soon gone, and the stall is all that there is.
        users = _only("Browse", folder)
        run = _started(service, folder, "--loop", loop, "--rate", str(_RATE), "--seconds", str(_SECONDS), *users)
        time.sleep(_STOPPED_AT)
        group = service.process.pid
        os.killpg(group, signal.SIGSTOP)
        time.sleep(_STOPPED)
        os.killpg(group, signal.SIGCONT)
        _finish(run)
        store = RunFolder(folder / "runs" / "run")
        plan = store.plan()
        measured, generators = store.measurements("run", 0, 0), store.generators("run")
        found = judge(plan, measured, generators, None, None, read_thresholds(_THRESHOLDS))
        return Said(found, [(each.at - plan.began, each.client_ms) for each in store.sent("run")])


def _generators(wrk: str) -> tuple[list[float], list[float]]:
    """Return the CPU seconds of a request, of our generator and of wrk, round by round."""
    ours, theirs = [], []
    with _service() as (service, folder):
        users = _only("Report", folder)
        for number in range(_ROUNDS):
            options = ("--rate", str(_RATE), "--seconds", str(_ALONE), *users)
            _finish(_started(service, folder, *options, run=f"run{number}"))
            ours.append(_of_record(folder / "runs" / f"run{number}", f"run{number}"))
            theirs.append(_of_wrk(wrk, str(service.http.base_url).rstrip("/") + _ROUTE))
    return ours, theirs


def _only(kind: str, folder: Path) -> tuple[str, str]:
    """Return the option by which all users are of one kind."""
    file = folder / "users.toml"
    file.write_text(f"{kind} = 1\n")
    return "--users", str(file)


def _of_record(folder: Path, run: str) -> float:
    """Return the CPU seconds of a request, by what the generator noted of itself each second."""
    store = RunFolder(folder)
    return loops.cpu_seconds(folder) / len(store.sent(run))


def _of_wrk(wrk: str, url: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{_ALONE}s", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    requests = next(int(line.split()[0]) for line in said.splitlines() if "requests in" in line)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / requests


@contextmanager
def _service() -> Iterator[tuple[Service, Path]]:
    """Start the two services as the demo does, in a folder of their own."""
    with tempfile.TemporaryDirectory() as name, Processes(Path(name)) as processes:
        yield processes.start_api(processes.start_payments()), Path(name)


def _started(service: Service, folder: Path, *options: str, run: str = "run") -> "subprocess.Popen[bytes]":
    where = ["--host", str(service.http.base_url).rstrip("/"), "--folder", str(folder / "runs"), "--run", run]
    environment: Mapping[str, str] = {**os.environ, "PROMETHEUS_URL": "", "LOCUST_URL": "http://127.0.0.1:1"}
    begun = subprocess.Popen([sys.executable, "-m", "loadtest.run", *where, *options], env=environment)  # noqa: S603
    while not (folder / "runs" / run / "run.jsonl").exists():
        time.sleep(0.05)
    return begun


def _finish(run: "subprocess.Popen[bytes]") -> None:
    if code := run.wait():
        sys.exit(f"The run ended with {code}.")


def _row(loop: str, said: Said) -> list[str]:
    lengths = sorted(length for _, length in said.requests)
    found = said.verdict.measured.overall
    if found is None:
        sys.exit("The run made no request.")
    times = (found.p50_ms, found.p95_ms, found.p99_ms, lengths[-1])
    return [loop, f"{len(lengths):,}", *(f"{each / 1000:.3f} s" for each in times), said.verdict.word]


def _cost(name: str, rounds: list[float]) -> list[str]:
    each = ", ".join(f"{seconds * 1e6:,.0f}" for seconds in rounds)
    return [f"`{name}`", each, f"{1 / statistics.median(rounds):,.0f}"]


if __name__ == "__main__":
    main()
