"""`python -m bench.load`: compare an open and a closed loop during a stall, and measure the load of one core."""

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
_GENERATOR_SECONDS = 20  # of one round
_ROUTE = "/orders?user_id=17&limit=50"  # the request of the user class `Report`
_CONNECTIONS = 10

_PAGE = """\
# Open and closed loop, and the cost of the load generator

Written by `make bench-load` on {cores} cores.

## The same stall in an open and a closed loop

{rate} requests per second for {seconds} s, from users of the class `Browse`. After {at} s the service is stopped for
{stopped} s (SIGSTOP, SIGCONT). The verdict uses the shipped thresholds.

{loops}

![Latency over time in each loop](../docs/pictures/loops.svg)

The reason for the verdict of the closed loop: {reasons}

## The load that one core can generate

One route, `GET {route}`: `make load` in the open loop with {rate} requests per second, and `wrk` with one thread
and {connections} connections, in alternating rounds of {duration} s, {rounds} each. The figures are the user and system
CPU time of the generator's process while it sends requests, divided by the number of requests.

{generators}

`make load` needs {ratio:.0f} times the CPU time of `wrk` per request: it is Python, creates new ids for each request
and records it. A run that needs more than 90 % of a core is INVALID; use `WORKERS=2` for more load.
"""


class Run(NamedTuple):
    """The verdict of a run, and the start and latency of its requests."""

    verdict: Verdict
    requests: loops.Requests


def main() -> None:
    """Run the benchmark, and write the page and its picture."""
    if not (wrk := shutil.which("wrk")):
        sys.exit("wrk is not installed: run apt install wrk.")
    runs = {loop: _run_with_stall(loop) for loop in ("open", "closed")}
    PICTURE.write_text(loops.picture({loop: run.requests for loop, run in runs.items()}, _SECONDS))
    ours, theirs = _generators(wrk)
    page = _PAGE.format(
        cores=os.cpu_count(), rate=_RATE, seconds=_SECONDS, at=_STOPPED_AT, stopped=_STOPPED,
        duration=_GENERATOR_SECONDS,
        loops=table(["loop", "requests", "p50", "p95", "p99", "longest", "verdict of the run"],
                    [_row(loop, run) for loop, run in runs.items()]),
        reasons=" ".join(runs["closed"].verdict.reasons), route=_ROUTE, connections=_CONNECTIONS, rounds=_ROUNDS,
        generators=table(["generator", "us of CPU per request, each round", "requests per second and core"],
                         [_cost("make load", ours), _cost("wrk", theirs)]),
        ratio=statistics.median(ours) / statistics.median(theirs),
    )  # fmt: skip
    RESULTS.write_text(page)
    sys.stdout.write(page)


def _run_with_stall(loop: str) -> Run:
    """Make a run, and stop the service for some seconds in the middle."""
    with _service() as (service, folder):
        # Their requests are cheap, so the queue drains fast and the figures show only the stall.
        users = _only("Browse", folder)
        run = _start(service, folder, "--loop", loop, "--rate", str(_RATE), "--seconds", str(_SECONDS), *users)
        time.sleep(_STOPPED_AT)
        group = service.process.pid
        os.killpg(group, signal.SIGSTOP)
        time.sleep(_STOPPED)
        os.killpg(group, signal.SIGCONT)
        _finish(run)
        store = RunFolder(folder / "runs" / "run")
        plan = store.plan()
        measured, generators = store.measurements("run", 0, 0), store.generators("run")
        verdict = judge(plan, measured, generators, None, None, read_thresholds(_THRESHOLDS))
        return Run(verdict, [(each.at - plan.began, each.client_ms) for each in store.sent("run")])


def _generators(wrk: str) -> tuple[list[float], list[float]]:
    """Return the CPU seconds per request of our generator and of wrk, one value for each round."""
    ours, theirs = [], []
    with _service() as (service, folder):
        users = _only("Report", folder)
        for number in range(_ROUNDS):
            options = ("--rate", str(_RATE), "--seconds", str(_GENERATOR_SECONDS), *users)
            _finish(_start(service, folder, *options, run=f"run{number}"))
            ours.append(_cpu_of_run(folder / "runs" / f"run{number}", f"run{number}"))
            theirs.append(_cpu_of_wrk(wrk, str(service.http.base_url).rstrip("/") + _ROUTE))
    return ours, theirs


def _only(kind: str, folder: Path) -> tuple[str, str]:
    """Return the options that select a single user class."""
    file = folder / "users.toml"
    file.write_text(f"{kind} = 1\n")
    return "--users", str(file)


def _cpu_of_run(folder: Path, run: str) -> float:
    """Return the CPU seconds per request, from the samples that the generator recorded every second."""
    store = RunFolder(folder)
    return loops.cpu_seconds(folder) / len(store.sent(run))


def _cpu_of_wrk(wrk: str, url: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{_GENERATOR_SECONDS}s", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    requests = next(int(line.split()[0]) for line in output.splitlines() if "requests in" in line)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / requests


@contextmanager
def _service() -> Iterator[tuple[Service, Path]]:
    """Start the two services in a temporary folder, as the demo does."""
    with tempfile.TemporaryDirectory() as name, Processes(Path(name)) as processes:
        yield processes.start_api(processes.start_payments()), Path(name)


def _start(service: Service, folder: Path, *options: str, run: str = "run") -> "subprocess.Popen[bytes]":
    where = ["--host", str(service.http.base_url).rstrip("/"), "--folder", str(folder / "runs"), "--run", run]
    environment: Mapping[str, str] = {**os.environ, "PROMETHEUS_URL": "", "LOCUST_URL": "http://127.0.0.1:1"}
    process = subprocess.Popen([sys.executable, "-m", "loadtest.run", *where, *options], env=environment)  # noqa: S603
    while not (folder / "runs" / run / "run.jsonl").exists():
        time.sleep(0.05)
    return process


def _finish(run: "subprocess.Popen[bytes]") -> None:
    if code := run.wait():
        sys.exit(f"The run ended with exit code {code}.")


def _row(loop: str, run: Run) -> list[str]:
    latencies = sorted(latency for _, latency in run.requests)
    overall = run.verdict.measured.overall
    if overall is None:
        sys.exit("The run sent no requests.")
    times = (overall.p50_ms, overall.p95_ms, overall.p99_ms, latencies[-1])
    return [loop, f"{len(latencies):,}", *(f"{each / 1000:.3f} s" for each in times), run.verdict.word]


def _cost(name: str, rounds: list[float]) -> list[str]:
    each = ", ".join(f"{seconds * 1e6:,.0f}" for seconds in rounds)
    return [f"`{name}`", each, f"{1 / statistics.median(rounds):,.0f}"]


if __name__ == "__main__":
    main()
