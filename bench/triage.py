"""`python -m bench.triage`: what `triage` costs on a million lines, CPU, wall clock and peak memory.

Run it on a machine with nothing else to do: the wall clock of a busy one says nothing.
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

from bench.report import table
from triage.timestamps import rfc3339

RESULTS = Path(__file__).with_name("TRIAGE.md")
_LINES = 1_000_000
_ROUNDS = 3
_START = 1_795_000_000.0
_EACH = 0.02  # seconds from one request to the next
_SLOW = range(20_000, 23_000)  # the requests during which 8 of 200 users are slow
_UNLUCKY = frozenset({3, 14, 15, 35, 65, 79, 89, 92})
_RUN = "20261123T031400a7"

_PAGE = """\
# How long `triage` takes

Written by `make bench-triage`: {lines:,} lines ({size:.0f} MB) as api and payments write them, 2 of 5 of them
`request.finished`, in one file. Each command {rounds} times, Python's start included, the least of each figure; {cores}
cores, and a load of {load:.1f} when it began.

{table}
"""


def write_lines(path: Path, lines: int = _LINES) -> str:
    """Write lines as api and payments do, 2 of 5 of them `request.finished`; return the trace id of a slow request."""
    dice = random.Random(1)  # noqa: S311 - the same lines each time
    known = ""
    with path.open("w") as file:
        for number in range(lines // 5):
            user = dice.randrange(1, 201)
            slow = number in _SLOW and user in _UNLUCKY
            trace_id = f"{dice.getrandbits(128):032x}"
            known = trace_id if slow else known
            took = 2000 + dice.random() if slow else dice.expovariate(0.1)
            for line in _request(number, trace_id, user, round(took, 3), dice):
                file.write(f"{json.dumps(line, separators=(',', ':'))}\n")
    return known


def _request(number: int, trace_id: str, user: int, took: float, dice: random.Random) -> Iterator[dict[str, object]]:
    spans = {service: f"{dice.getrandbits(64):016x}" for service in ("api", "payments")}

    def line(later: float, level: str, logger: str, message: str, service: str = "api") -> dict[str, object]:
        return {
            "timestamp": rfc3339(_START + number * _EACH + later / 1000), "level": level, "service": service,
            "instance": f"127.0.0.1:{8000 + (service != 'api')}", "trace_id": trace_id, "span_id": spans[service],
            "logger": logger, "message": message,
        }  # fmt: skip

    def finished(later: float, route: str, service: str) -> dict[str, object]:
        return line(later, "info", "observability", "Request finished", service) | {
            "event": "request.finished", "method": "POST", "route": route, "status": 201, "duration_ms": later,
            "outcome": "ok", "request_id": f"{_RUN}-0-{number}", "user_id": user,
        }  # fmt: skip

    yield line(0.1, "debug", "app.users.service", "Looking for the user of this order") | {"user_id": user}
    yield line(0.2, "debug", "app.database", "Statement") | {
        "statement": "SELECT orders.id, orders.user_id, orders.sku, orders.quantity, orders.status, orders.created_at, "
        "users.id AS id_1, users.name, users.email, users.created_at AS created_at_1 FROM orders JOIN users ON users.id"
        " = orders.user_id WHERE orders.id = $1::INTEGER AND orders.status = $2::VARCHAR FOR UPDATE OF orders",
        "statement_ms": round(took * 0.9, 3),
    }
    yield finished(0.7, "/charges", "payments")
    yield line(0.8, "info", "app.orders.service", "Order stored and paid") | {"order_id": number, "user_id": user}
    timers = {"db_ms": round(took * 0.9, 3), "db_calls": 2, "pool_wait_ms": 0.105, "pool_wait_calls": 1}
    yield finished(took, "/orders", "api") | timers | {"upstream_ms": 0.7, "upstream_calls": 1}


def measured(words: list[str]) -> tuple[float, float, float]:
    """Run a command; return its CPU time and wall clock in seconds, and its peak memory in MB."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "triage", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own module
    _, status, usage = os.wait4(process.pid, 0)  # tells what this one used
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"triage {' '.join(words)} failed")
    unit = 1_000_000 if sys.platform == "darwin" else 1_000
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / unit


def main() -> None:
    """Measure each command a few times, and write the page."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines.jsonl")
        known = write_lines(path)
        source = ["--json", "--jsonl", str(path)]
        commands = {
            "`trace`, a trace id": ["trace", known, *source],
            "`trace`, a request id": ["trace", f"{_RUN}-0-{_SLOW[0]}", *source],
            "`explain`, window found": ["explain", *source],
            "`explain`, all lines": ["explain", "--from", "0", "--to", "9e9", *source],
        }
        rows = [_row(name, words) for name, words in commands.items()]
        size = path.stat().st_size / 1e6
    found = table(["command", "CPU", "wall", "peak memory"], rows)
    page = _PAGE.format(lines=_LINES, size=size, rounds=_ROUNDS, cores=os.cpu_count(), load=load, table=found)
    RESULTS.write_text(page)


def _row(name: str, words: list[str]) -> list[str]:
    rounds = [measured(words) for _ in range(_ROUNDS)]
    cpu, wall, memory = (min(each) for each in zip(*rounds, strict=True))
    return [name, f"{cpu:.2f} s", f"{wall:.2f} s", f"{memory:.0f} MB"]


if __name__ == "__main__":
    main()
