"""Ten thousand lines a second from one container, for five minutes."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2

from tests.prove import engine, report
from tests.prove.conftest import Proof
from tests.stack import sets
from tests.waiting import eventually

RATE, SECONDS = 10_000, 300
FLOOD = '{service_name="flood"}'


def test_no_line_is_lost(proof: Proof) -> None:
    """In each second as many are stored as were written; and the newest is seen soon."""
    proof.began = time.time() - 1
    container = _flood()
    try:
        lags = list(_lags(proof.stack.loki, container))
        assert 0 == engine.inspected(container)[0]["State"]["ExitCode"]  # it has written all
        proof.settled()
    finally:
        engine.docker("rm", "--force", container)
    found = _compared(proof.stack.loki, proof.began)
    proof.report.lines(f"{RATE:,} lines/s from one container for {SECONDS} s (compared second by second)", found)
    ordered = statistics.quantiles(lags, n=100)
    proof.report.row(
        report.FIGURES,
        f"{RATE:,} lines/s: a query finds lines of the last (median, p99)",
        f"{ordered[49]:.2f} s, {ordered[98]:.2f} s",
    )
    assert found.equal
    assert ordered[98] <= 1 or not report.calm()


def _compared(loki: str, began: float) -> sets.Compared:
    """Hold what is stored of each second against what the writer writes in each; the engine keeps not so many.

    A second of which Loki counts another number is read: what was sent again is counted, and not shown.
    """
    counted = _stored_per_second(loki, began)
    shown, distinct = Counter[int](), Counter[int]()
    for second, count in counted.items():
        texts = [] if count == RATE else list(sets.stored_lines(loki, FLOOD, second, second + 1))
        shown[second], distinct[second] = (len(texts), len(set(texts))) if texts else (count, count)
    return sets.Compared(
        written=RATE * SECONDS,
        stored=shown.total(),
        missing=RATE * SECONDS - distinct.total(),
        twice=shown.total() - distinct.total(),
        unknown=0,
        again=sum(counted.values()) - shown.total(),
    )


def _flood() -> str:
    """Start the writer with the label, the image and the log files of the service."""
    (api,) = engine.inspected(engine.containers("api")["api-1"])
    options = [f"--label=logging={api['Config']['Labels']['logging']}", "--cpus=1"]
    options += [f"--log-opt={name}={value}" for name, value in api["HostConfig"]["LogConfig"]["Config"].items()]
    program = Path(__file__).with_name("flood.py").read_text()
    command = ["python", "-c", program, str(RATE), str(SECONDS)]
    return engine.docker(
        "run", "--detach", "--log-driver=json-file", *options, api["Config"]["Image"], *command
    ).strip()


def _lags(loki: str, container: str) -> Iterator[float]:
    """Yield how old the newest line is that a query finds, as long as lines are written."""
    with httpx2.Client(base_url=loki, timeout=60) as client:
        eventually(lambda: _newest(client), "the flood")
        while engine.inspected(container)[0]["State"]["Running"]:
            for _ in range(4):
                newest = _newest(client)
                if newest:
                    yield time.time() - newest
                time.sleep(0.2)


def _newest(client: httpx2.Client) -> float:
    parameters: dict[str, str | float] = {"query": FLOOD, "limit": 1, "start": time.time() - 30, "end": time.time() + 5}
    answer = client.get("/loki/api/v1/query_range", params=parameters).raise_for_status().json()
    streams = answer["data"]["result"]
    return max((int(at) / 1e9 for stream in streams for at, _ in stream["values"]), default=0.0)


def _stored_per_second(loki: str, began: float) -> dict[int, int]:
    """Count the stored lines of each second; a range has its end and not its begin, but no line is on either."""
    found: dict[int, int] = {}
    for start in range(int(began), int(time.time()), 60):
        parameters: dict[str, str | int] = {
            "query": f"sum(count_over_time({FLOOD}[1s]))",
            "start": start + 1,
            "end": start + 60,
            "step": 1,
        }
        answer = httpx2.get(f"{loki}/loki/api/v1/query_range", params=parameters, timeout=120).raise_for_status().json()
        for series in answer["data"]["result"]:
            for at, count in series["values"]:
                found[int(at) - 1] = int(count)
    return found
