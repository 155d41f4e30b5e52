"""Ten thousand lines a second from one container, for five minutes."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2

from tests.prove import engine, report
from tests.prove.conftest import Proof, lines_of
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
        proof.settled()
        engine.save_lines(container, proof.folder / "flood.jsonl")
    finally:
        engine.docker("rm", "--force", container)
    written = Counter(line.partition('"timestamp":"')[2][:19] for line in lines_of(proof.folder / "flood.jsonl"))
    stored = _stored_per_second(proof.stack.loki, proof.began)
    total = sum(written.values())
    lost = sum(max(0, written[second] - stored.get(second, 0)) for second in written)
    again = sum(max(0, stored.get(second, 0) - written[second]) for second in written)
    found = sets.Compared(total, sum(stored.values()), lost, 0, 0, again)
    proof.report.lines(f"{RATE:,} lines/s from one container for {SECONDS} s (compared second by second)", found)
    ordered = statistics.quantiles(lags, n=100)
    proof.report.row(
        report.FIGURES,
        f"{RATE:,} lines/s: a query finds lines of the last (median, p99)",
        f"{ordered[49]:.2f} s, {ordered[98]:.2f} s",
    )
    assert total == RATE * SECONDS
    assert (0, 0) == (lost, again)
    assert ordered[98] <= 1 or not report.calm()


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


def _stored_per_second(loki: str, began: float) -> dict[str, int]:
    """Count the stored lines of each second; a sample at a whole second is of the second before it."""
    found: dict[str, int] = {}
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
                second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(at) - 1))
                found[second] = int(count)
    return found
