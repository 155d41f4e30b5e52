"""`python -m bench.why`: test whether the tour explains incidents while the stack runs, and invents none."""

import argparse
import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import httpx2

from bench.report import table
from tests.app.faults import FAULT_HEADERS
from tests.emitted import Line
from tests.load import locust
from tests.postgres import start_postgres
from tests.stack import stores
from tests.stack.native import REPLICAS, NativeStack
from triage.incidents import EVENT

RESULTS = Path(__file__).with_name("WHY.md")
_USERS, _AFFECTED = 30, range(1, 9)
_QUIET_RUNS, _QUIET = 10, 40.0  # seconds
_SECONDS = 30  # of an incident
_DEADLINE = 60.0  # seconds from the end of an incident to its line
_APART = 25.0  # seconds between two incidents
_POOL_SIZE = 4  # connections of a replica, so that a slow database can exhaust the pool

_PAGE = """\
# Whether the tour explains incidents

Written by `make bench-why`: three replicas of the service with {users} requests/s in all, payments, PostgreSQL, Loki,
Alloy and the tour on {cores} cores, with a load average of {load:.1f} at the end. First come {quiet_runs} quiet runs of
{quiet:.0f} s, then incidents of {seconds} s, each with another cause.

An explanation is right if it comes within {deadline:.0f} s, if `field` is the cause, with affected values only, and if
`part` is the largest part of the latency. The seconds are from the end of the incident until the line was in Loki.

{rows}

{right} of {number} incidents were explained right. In {quiet_runs} quiet runs, {invented} lines were written.
The tour used at most {memory} MB of memory.
"""

#: Fields that can name the cause, with the values that are affected (None: not compared), and the parts of the latency.
Causes = Mapping[str, Sequence[str] | None]


class Case(NamedTuple):
    """An incident: how to cause it, for a number of seconds, and what explains it."""

    name: str
    cause: Callable[[NativeStack, int], None]
    fields: Causes
    parts: Sequence[str]


def _fault(**fault: object) -> Callable[[NativeStack, int], None]:
    """Inject a fault of the service."""

    def run(stack: NativeStack, seconds: int) -> None:
        body = {"fault": "slow-query", "seconds": seconds, **fault}
        httpx2.post(f"{stack.url('api')}/faults", json=body, headers=FAULT_HEADERS).raise_for_status()
        time.sleep(seconds)

    return run


def _throttle(service: str, stopped: float, running: float) -> Callable[[NativeStack, int], None]:
    """Stop a process again and again for some seconds, as with a blocked event loop or a limit on its CPU time."""

    def run(stack: NativeStack, seconds: int) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for number, pause in ((signal.SIGSTOP, stopped), (signal.SIGCONT, running)):
                stack.services.signal(service, number)
                time.sleep(pause)

    return run


def _stop_payments(stack: NativeStack, seconds: int) -> None:
    """Stop the payments service, then start it again."""
    stack.services.stop("payments")
    time.sleep(seconds)
    stack.start_service("payments")
    stack.services.wait_until_ready("payments", f"{stack.url('payments')}/readyz")


def _lock_orders(stack: NativeStack, seconds: int) -> None:
    """Hold a lock on the table of orders for most of the time, as a migration would."""

    async def lock() -> None:
        connection = await asyncpg.connect(host=str(stack.servers.folder / "sockets"), user="app", database="postgres")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            async with connection.transaction():
                await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(0.9)
            await asyncio.sleep(0.1)
        await connection.close()

    asyncio.run(lock())


_USER_IDS = [str(user) for user in _AFFECTED]
_ORDERS: Causes = {"route": ["/orders"], "method": ["POST"]}

CASES = [
    Case(
        f"slow database for {len(_AFFECTED)} of 200 users",
        _fault(users=list(_AFFECTED), delay_ms=1_200), {"user_id": _USER_IDS}, ["db_ms"],
    ),
    Case(
        f"database does not answer for {len(_AFFECTED)} of 200 users",
        _fault(fault="database-timeout", users=list(_AFFECTED)), {"user_id": _USER_IDS}, ["db_ms"],
    ),
    Case(
        "slow statements of one route",
        _fault(route="/users/{user_id}", delay_ms=700), {"route": ["/users/{user_id}"]}, ["db_ms"],
    ),
    Case("slow statements of `/orders`", _fault(route="/orders", delay_ms=900), {"route": ["/orders"]}, ["db_ms"]),
    Case("a lock on the table of orders", _lock_orders, _ORDERS, ["db_ms"]),
    Case("one replica runs a tenth of time", _throttle("api-2", 0.6, 0.06), {"instance": ["api-2"]}, ["loop_lag_ms"]),
    Case("payments is slow", _throttle("payments", 0.8, 0.2), _ORDERS, ["upstream_ms"]),
    # The time is that between retries, which is in no timer.
    Case("payments is stopped", _stop_payments, _ORDERS, ["rest"]),
    Case("exhausted pools: all statements are slow", _fault(delay_ms=3_000), {"-": None}, ["pool_wait_ms", "db_ms"]),
    Case("a tenth of all requests at random", _fault(share=0.1, delay_ms=1_200), {"-": None}, ["db_ms"]),
]  # fmt: skip


class Result(NamedTuple):
    """The line about an incident, if there is one, and how many seconds after the end it was found."""

    case: Case
    line: Line | None
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the cause comes first, and in time."""
        if self.line is None or self.seconds > _DEADLINE:
            return False
        field, values = str(self.line["field"]), str(self.line["values"]).split(", ")
        if field not in self.case.fields or self.line["part"] not in self.case.parts:
            return False
        affected = self.case.fields[field]
        return affected is None or all(value in affected or value.startswith("...") for value in values)


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.why", description=__doc__)
    parser.add_argument("--quiet", type=int, default=_QUIET_RUNS, help="how many quiet runs (default: %(default)s)")
    parser.add_argument("--cases", type=int, nargs="+", help="the numbers of the incidents, from 1 (default: all)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the page to write (default: %(default)s)")
    options = parser.parse_args()
    cases = [CASES[number - 1] for number in options.cases] if options.cases else CASES
    with _stack() as stack:
        time.sleep(options.quiet * _QUIET)
        time.sleep(_APART)
        invented = _explained(stack)
        for line in invented:
            print("invented:", line["message"])  # noqa: T201 - the progress
        results = [_run(stack, case) for case in cases]
        status = Path(f"/proc/{stack.servers.pid('tour')}/status").read_text()
    memory = int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) // 1024
    options.output.write_text(_page(results, options.quiet, len(invented), memory))


@contextmanager
def _stack() -> Iterator[NativeStack]:
    os.environ["DATABASE_POOL_SIZE"] = str(_POOL_SIZE)
    with NativeStack() as stack:
        stack.start_services(start_postgres(stack.servers))
        stack.start_loki()
        stack.start_alloy()
        stack.start_tour()
        for name in REPLICAS:
            stack.servers.start(f"load-{name}", locust(stack.url(name), _USERS // len(REPLICAS), 4))
        yield stack
        for name in REPLICAS:
            stack.servers.kill(f"load-{name}")


def _explained(stack: NativeStack) -> list[Line]:
    """Return the explanations of incidents of the service, the earliest first."""
    found = stores.lines(stack.url("loki"), f'{{service_name="tour"}} |= "{EVENT}"', minutes=120)
    names = {stack.url(name).removeprefix("http://"): name for name in REPLICAS}
    return [
        {**line.fields, "values": names.get(line.fields["values"], line.fields["values"])}
        for line in found
        if line.fields["explained_service"] == "api"
    ]


def _run(stack: NativeStack, case: Case) -> Result:
    began = time.time()
    case.cause(stack, _SECONDS)
    ended = time.time()
    new: list[Line] = []
    while not new and time.time() - ended < 2 * _DEADLINE:
        time.sleep(0.5)
        new = [line for line in _explained(stack) if line["to"] > began * 1000]
    result = Result(case, new[0] if new else None, time.time() - ended)
    text = result.line["message"] if result.line else "no line"
    print(f"{'right' if result.right else 'WRONG'} {result.seconds:.0f} s, {case.name}: {text}", flush=True)  # noqa: T201
    time.sleep(max(0.0, ended + _APART - time.time()))
    return result


def _page(results: Sequence[Result], quiet_runs: int, invented: int, memory: int) -> str:
    rows = [
        [
            each.case.name,
            f"`{each.line['field']}`" if each.line else "no line",
            str(each.line["values"]) if each.line else "",
            str(each.line["slow_with"]) if each.line else "",
            str(each.line["fast_with"]) if each.line else "",
            f"`{each.line['part']}`" if each.line else "",
            f"{each.seconds:.0f}",
            "yes" if each.right else "**no**",
        ]
        for each in results
    ]
    return _PAGE.format(
        users=_USERS, cores=os.cpu_count(), load=os.getloadavg()[0], quiet_runs=quiet_runs, quiet=_QUIET,
        seconds=_SECONDS, deadline=_DEADLINE, right=sum(each.right for each in results), number=len(results),
        invented=invented, memory=memory,
        rows=table(["incident", "field", "values", "slow", "others", "part", "seconds", "right"], rows),
    )  # fmt: skip


if __name__ == "__main__":
    main()
