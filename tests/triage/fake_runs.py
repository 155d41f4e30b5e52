"""Fake load runs: folders like those of real ones."""

import random
from pathlib import Path
from typing import NamedTuple

from tests.triage.fake_service import RUN, T0, Line, hexadecimal, write
from triage.timestamps import rfc3339


class FakeRun(NamedTuple):
    """The lines of a run, which a test may change before it writes them."""

    started: Line
    stopped: Line
    sent: list[list[Line]]
    samples: list[list[Line]]
    ends: list[Line]

    @property
    def requests(self) -> list[Line]:
        """The requests of all workers."""
        return [line for lines in self.sent for line in lines]

    def write(self, runs: Path, *, stopped: bool = True, lost: tuple[int, ...] = ()) -> Path:
        """Write the folder, optionally without the end of the run or of `lost` workers."""
        folder = runs / str(self.started["run"])
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "run.jsonl", [self.started, *([self.stopped] if stopped else [])])
        for worker, lines in enumerate(self.sent):
            ends = [] if worker in lost else [self.ends[worker]]
            write(folder / f"sent-{worker}.jsonl", [*lines, *self.samples[worker], *ends])
        return folder


def fake_run(
    *, loop: str = "open", seconds: int = 20, rate: int = 50, workers: int = 1, run: str = RUN, seed: int = 1
) -> FakeRun:
    """Return a successful run: fast responses, idle generators."""
    dice = random.Random(seed)  # noqa: S311 - not a secret
    facts = {"host": "http://127.0.0.1:8000", "profile": "steady", "loop": loop, "users": None}
    plan = {"seconds": seconds, "rate": rate, "workers": workers}
    requests: list[list[Line]] = [[] for _ in range(workers)]
    for number in range(seconds * rate):
        requests[number % workers].append(request(T0 + number / rate, number, dice.lognormvariate(2, 0.5), run=run))
    samples = [
        [
            run_line(T0 + second + 1, "generator.sampled", run, worker=worker, cpu=0.2, in_flight=1)
            for second in range(seconds)
        ]
        for worker in range(workers)
    ]
    end = T0 + seconds + 1
    ends = [
        run_line(end, "generator.stopped", run, worker=worker, requests=len(requests[worker]))
        for worker in range(workers)
    ]
    stopped = run_line(end, "run.stopped", run, requests=seconds * rate, failures=0, interrupted=False)
    return FakeRun(run_line(T0 - 1, "run.started", run, **facts, **plan), stopped, requests, samples, ends)


def run_line(at: float, event: str, run: str, **fields: object) -> Line:
    return {"timestamp": rfc3339(at), "event": event, "service": "loadtest", "run": run, **fields}


def request(at: float, number: int, client_ms: float, run: str = RUN, **fields: object) -> Line:
    """Return the line of one request, of which all but two milliseconds were spent in the server."""
    method, route = choose_route(number)
    return run_line(at, "request.sent", run) | {
        "request_id": f"{run}-0-{number}", "trace_id": hexadecimal((run, number), 32), "method": method,
        "route": route, "status": 200, "client_ms": round(client_ms + 2, 3), "server_ms": round(client_ms, 3),
        "late_ms": 0.0, "error": None, **fields,
    }  # fmt: skip


def choose_route(number: int) -> tuple[str, str]:
    """Return the method and route: every tenth request places an order, the others read a user."""
    return ("POST", "/orders") if number % 10 == 0 else ("GET", "/users/{user_id}")
