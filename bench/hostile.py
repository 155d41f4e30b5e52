"""`python -m bench.hostile`: measure normal requests next to 200 hostile connections.

Run it on an idle machine: on a busy one, latencies are meaningless.
"""

import argparse
import asyncio
import multiprocessing
import os
import platform
import socket
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import httpx2
import psutil

from bench.report import table
from tests.processes import Processes
from tests.services import Service, running

RESULTS = Path(__file__).with_name("HOSTILE.md")
_RATE = 50  # normal requests per second
_CONNECTIONS = 200
_CLIENT_TIMEOUT = 5  # seconds
_TIMEOUT = 10  # seconds; slower requests are failures
_READINESS_TIMEOUT = 3  # seconds, as in docker-compose.yml
_MIB = 2**20

_ORDER = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n"
_INVALID = b"[" + b"{}," * 21_844 + b"{}]"  # of 64 KiB, the longest body that is read
# What each kind of hostile connection sends: once, and then again and again until the connection is closed.
KINDS: dict[str, tuple[bytes, bytes]] = {
    "idle": (b"", b""),
    "half a head": (b"GET /users/1 HTTP/1.1\r\nHo", b""),
    "an endless header": (b"GET /users/1 HTTP/1.1\r\nX: ", b"x" * 16_384),
    "half a body": (_ORDER + _INVALID[: len(_INVALID) // 2], b""),
    "invalid bodies of 64 KiB whose responses (422) are not read": (b"", _ORDER + _INVALID),
}

_PAGE = """\
# What normal requests pay for hostile clients

Written by `make bench-hostile` on {date}; {cores} cores ({machine}), {python}, with a load average of {load:.1f} at the
start. The services, the normal clients and the hostile clients share these cores.

api (with SQLite) gets {rate} requests per second in an open loop: `GET /users/...` and `POST /orders` in turns. Latency
is measured from the moment when a request was due. In every second round, there are {connections} hostile connections,
{each} of each kind:

{kinds}

A hostile connection that api closes is opened again at once. `CLIENT_TIMEOUT` is {client_timeout} s instead of 20 s, so
that api closes every kind within a round. Without and with hostile clients, there are {rounds} rounds of {seconds} s in
turns, each with new processes. CPU and memory are those of api.

{table}

p50, p99 and CPU are the median of the rounds, memory and the longest latency the maximum, and the rest is the sum. The
container of api has a limit of 256 MiB. Connections that api closed, by `reason` (`http_connections_closed_total`):
{closed}.
"""


class Effort(NamedTuple):
    """The length of the measurement: rounds with and without hostile clients, and the seconds of each."""

    rounds: int
    seconds: float


FULL = Effort(3, 8)
QUICK = Effort(1, 2)  # for tests; the figures are meaningless


@dataclass
class Round:
    """What was measured in one round."""

    latencies: list[float] = field(default_factory=list)  # milliseconds
    failures: int = 0
    probes: int = 0
    failed_probes: int = 0
    peak: int = 0  # bytes
    cpu: float = 0.0  # cores
    closed: Counter[str] = field(default_factory=Counter)

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1]


def main() -> None:
    """Measure the rounds and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run for tests; the figures are meaningless")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the page to write (default: %(default)s)")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind of connection; may be repeated")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    kinds = options.kind or list(KINDS)
    load = os.getloadavg()[0]
    without, hostile = [], []
    for _ in range(effort.rounds):
        without.append(_round(effort.seconds, []))
        hostile.append(_round(effort.seconds, kinds))
    closed = sum((each.closed for each in hostile), Counter())
    options.output.write_text(
        _PAGE.format(
            date=f"{datetime.now(UTC):%d %B %Y}".lstrip("0"),
            cores=os.cpu_count(),
            machine=platform.machine(),
            python=f"{platform.python_implementation()} {platform.python_version()}",
            load=load,
            rate=_RATE,
            connections=_CONNECTIONS,
            each=_CONNECTIONS // len(kinds),
            kinds="\n".join(f"- {kind}" for kind in kinds),
            client_timeout=_CLIENT_TIMEOUT,
            rounds=effort.rounds,
            seconds=f"{effort.seconds:g}",
            table=_table(without, hostile),
            closed=", ".join(f"`{reason}` {number:,.0f}" for reason, number in sorted(closed.items()) if number)
            or "none",
        )
    )


def _table(*conditions: Sequence[Round]) -> str:
    rows: dict[str, Callable[[Sequence[Round]], str]] = {
        "requests": lambda rounds: f"{sum(len(each.latencies) for each in rounds):,}",
        "failed requests": lambda rounds: str(sum(each.failures for each in rounds)),
        "p50": lambda rounds: f"{statistics.median(each.percentile(50) for each in rounds):.1f} ms",
        "p99": lambda rounds: f"{statistics.median(each.percentile(99) for each in rounds):.1f} ms",
        "longest": lambda rounds: f"{max(max(each.latencies) for each in rounds):,.0f} ms",
        "readiness checks that failed": lambda rounds: (
            f"{sum(each.failed_probes for each in rounds)} of {sum(each.probes for each in rounds)}"
        ),
        "CPU": lambda rounds: f"{statistics.median(each.cpu for each in rounds):.2f} cores",
        "peak memory (RSS)": lambda rounds: f"{max(each.peak for each in rounds) / _MIB:.0f} MiB",
        "closed connections": lambda rounds: f"{sum(each.closed.total() for each in rounds):,.0f}",
    }
    head = ["", "without hostile clients", "with hostile clients"]
    return table(head, [[name, *(show(rounds) for rounds in conditions)] for name, show in rows.items()])


def _round(seconds: float, kinds: Sequence[str]) -> Round:
    """Measure with new services; without `kinds`, there are no hostile clients."""
    with tempfile.TemporaryDirectory() as name, Processes(Path(name)) as processes:
        settings = {"CLIENT_TIMEOUT": str(_CLIENT_TIMEOUT), "DATABASE_URL": f"sqlite:///{name}/bench.db"}
        with (
            running(processes, "payments", {}) as payments,
            running(processes, "api", {**settings, "PAYMENTS_URL": payments.url}) as api,
        ):
            process = psutil.Process(processes.pid("api"))
            asyncio.run(_send_normal_requests(Round(), api, process, 1))  # a warm-up
            measured = Round()
            before = _closed(api)
            with _hostile_clients(int(api.url.rpartition(":")[2]), kinds):
                asyncio.run(_send_normal_requests(measured, api, process, seconds))
            measured.closed = _closed(api)
            measured.closed.subtract(before)
            return measured


def _closed(service: Service) -> Counter[str]:
    closed: Counter[str] = Counter()
    for sample in service.samples():
        if sample.name == "http_connections_closed_total":
            closed[sample.labels["reason"]] += int(sample.value)
    return closed


async def _send_normal_requests(measured: Round, api: Service, process: psutil.Process, seconds: float) -> None:
    """Send requests when they are due, probe readiness once per second, and measure CPU and memory."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=_RATE)
    async with (
        httpx2.AsyncClient(base_url=api.url, timeout=_TIMEOUT, limits=limits, trust_env=False) as client,
        httpx2.AsyncClient(base_url=api.url, timeout=_READINESS_TIMEOUT, trust_env=False) as prober,
        asyncio.TaskGroup() as tasks,
    ):
        loop = asyncio.get_running_loop()
        started, used = loop.time(), sum(process.cpu_times()[:2])
        for number in range(int(seconds * _RATE)):
            due = started + number / _RATE
            await asyncio.sleep(due - loop.time())
            tasks.create_task(_send(measured, client, number, due))
            if not number % _RATE:
                tasks.create_task(_probe(measured, prober))
            measured.peak = max(measured.peak, process.memory_info().rss)
        measured.cpu = (sum(process.cpu_times()[:2]) - used) / (loop.time() - started)


async def _send(measured: Round, client: httpx2.AsyncClient, number: int, due: float) -> None:
    user = number % 200 + 1
    try:
        if number % 2:
            response = await client.post("/orders", json={"user_id": user, "sku": "mug", "quantity": 1})
        else:
            response = await client.get(f"/users/{user}")
    except httpx2.HTTPError:
        measured.failures += 1
    else:
        measured.failures += not response.is_success
    measured.latencies.append((asyncio.get_running_loop().time() - due) * 1000)


async def _probe(measured: Round, client: httpx2.AsyncClient) -> None:
    measured.probes += 1
    try:
        ready = (await client.get("/readyz")).status_code == HTTPStatus.OK
    except httpx2.HTTPError:
        ready = False
    measured.failed_probes += not ready


@contextmanager
def _hostile_clients(port: int, kinds: Sequence[str]) -> Iterator[None]:
    """Keep hostile connections open until the `with` block ends, from another process."""
    if not kinds:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=attack, args=(port, kinds), daemon=True)
    process.start()
    try:
        time.sleep(2)  # until all are open
        yield
    finally:
        process.kill()
        process.join()


def attack(port: int, kinds: Sequence[str]) -> None:
    """Keep hostile connections to a port open until the process is killed."""
    os.nice(10)  # on a few cores, the normal clients should not wait for this process

    async def keep_all() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(_CONNECTIONS):
                tasks.create_task(_keep(port, *KINDS[kinds[number % len(kinds)]]))

    asyncio.run(keep_all())


async def _keep(port: int, first: bytes, more: bytes) -> None:
    """Open a connection that sends `first` and then `more` without an end; when it is closed, open the next."""
    loop = asyncio.get_running_loop()
    while True:
        with suppress(OSError), socket.socket() as client:
            client.setblocking(False)  # noqa: FBT003 - has no keyword
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is not read stays at the service
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, first)
            while more:
                await loop.sock_sendall(client, more)
            while await loop.sock_recv(client, 4096):
                pass


if __name__ == "__main__":
    main()
