"""`python -m bench.triage`: measure CPU time, wall-clock time and peak memory of `triage` for a million lines.

Run it on an idle machine: on a busy one, wall-clock times are meaningless.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.report import table
from triage.timestamps import rfc3339

RESULTS = Path(__file__).with_name("TRIAGE.md")
_LINES = 1_000_000
_ROUNDS = 3
_START = 1_795_000_000.0
_INTERVAL = 0.02  # seconds from one request to the next
_INCIDENT = range(20_000, 23_000)  # the requests during which 8 of 200 users are slow
_AFFECTED_USERS = frozenset({3, 14, 15, 35, 65, 79, 89, 92})
_SLOW_MS = 500
_RUN = "20261123T031400a7"

_PAGE = """\
# How long `triage` takes

Written by `make bench-triage`: one file with {lines:,} lines ({size:.0f} MB) like those of api and payments; 2 of 5
lines are `request.finished`. Each figure is the minimum of {rounds} runs, including the start of Python, on {cores}
cores with a load average of {load:.1f} at the start.

{table}
"""


def write_lines(path: Path, lines: int = _LINES) -> str:
    """Write lines like those of api and payments; return the trace id of a slow request."""
    rng = random.Random(1)  # noqa: S311 - the same lines each time
    known = ""
    with path.open("w") as file:
        for number in range(lines // 5):
            user = rng.randrange(1, 201)
            slow = number in _INCIDENT and user in _AFFECTED_USERS
            trace_id = f"{rng.getrandbits(128):032x}"
            known = trace_id if slow else known
            took = 2000 + rng.random() if slow else rng.expovariate(0.1)
            order = Order(number, _START + number * _INTERVAL, trace_id, user, round(took, 3))
            for line in order.lines(rng):
                file.write(f"{json.dumps(line, separators=(',', ':'))}\n")
    return known


class Order(NamedTuple):
    """A request at api, which calls payments; `at` is its time in seconds."""

    number: int
    at: float
    trace_id: str
    user_id: int
    took_ms: float

    def lines(self, rng: random.Random) -> Iterator[dict[str, object]]:
        """Yield its log lines."""
        spans = {service: f"{rng.getrandbits(64):016x}" for service in ("api", "payments")}

        def line(later: float, level: str, logger: str, message: str, service: str = "api") -> dict[str, object]:
            return {
                "timestamp": rfc3339(self.at + later / 1000), "level": level, "service": service,
                "instance": f"127.0.0.1:{8000 + (service != 'api')}", "trace_id": self.trace_id,
                "span_id": spans[service], "logger": logger, "message": message,
            }  # fmt: skip

        def finished(later: float, route: str, service: str) -> dict[str, object]:
            level = "warning" if later >= _SLOW_MS else "info"
            return line(later, level, "observability", "Request finished", service) | {
                "event": "request.finished", "method": "POST", "route": route, "status": 201, "duration_ms": later,
                "outcome": "ok", "request_id": f"{_RUN}-0-{self.number}", "user_id": self.user_id,
            }  # fmt: skip

        yield line(0.1, "debug", "app.users.service", "Looking for the user of this order") | {"user_id": self.user_id}
        yield line(0.2, "debug", "app.database", "Statement") | {
            "statement": "SELECT orders.id, orders.user_id, orders.sku, orders.quantity, orders.status, "
            "orders.created_at, users.id AS id_1, users.name, users.email, users.created_at AS created_at_1 "
            "FROM orders JOIN users ON users.id = orders.user_id WHERE orders.id = $1::INTEGER "
            "AND orders.status = $2::VARCHAR FOR UPDATE OF orders",
            "statement_ms": round(self.took_ms * 0.9, 3),
        }
        yield finished(0.7, "/charges", "payments")
        yield line(0.8, "info", "app.orders.service", "Order stored and paid") | {
            "order_id": self.number,
            "user_id": self.user_id,
        }
        timers = {"db_ms": round(self.took_ms * 0.9, 3), "db_calls": 2, "pool_wait_ms": 0.105, "pool_wait_calls": 1}
        yield finished(self.took_ms, "/orders", "api") | timers | {"upstream_ms": 0.7, "upstream_calls": 1}


def measure(arguments: list[str]) -> tuple[float, float, float]:
    """Run a `triage` command; return CPU time and wall-clock time in seconds, and peak memory in MB."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "triage", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own module
    _, status, usage = os.wait4(process.pid, 0)  # returns the usage of this process only
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"triage {' '.join(arguments)} failed.")
    unit = 1_000_000 if sys.platform == "darwin" else 1_000
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / unit


def main() -> None:
    """Measure each command a few times and write the page."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines.jsonl")
        known = write_lines(path)
        source = ["--json", "--jsonl", str(path)]
        commands = {
            "`trace`, a trace id": ["trace", known, *source],
            "`trace`, a request id": ["trace", f"{_RUN}-0-{_INCIDENT[0]}", *source],
            "`explain`, window found": ["explain", *source],
            "`explain`, all lines": ["explain", "--from", "0", "--to", "9e9", *source],
        }
        rows = [_row(name, arguments) for name, arguments in commands.items()]
        size = path.stat().st_size / 1e6
    figures = table(["command", "CPU", "wall clock", "peak memory"], rows)
    page = _PAGE.format(lines=_LINES, size=size, rounds=_ROUNDS, cores=os.cpu_count(), load=load, table=figures)
    RESULTS.write_text(page)


def _row(name: str, arguments: list[str]) -> list[str]:
    rounds = [measure(arguments) for _ in range(_ROUNDS)]
    cpu, wall, memory = (min(each) for each in zip(*rounds, strict=True))
    return [name, f"{cpu:.2f} s", f"{wall:.2f} s", f"{memory:.0f} MB"]


if __name__ == "__main__":
    main()
