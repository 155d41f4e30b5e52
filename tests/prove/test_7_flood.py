"""10,000 lines per second from one container for five minutes."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2

from tests.prove import engine, report
from tests.prove.conftest import Proof
from tests.stack import comparison
from tests.waiting import wait_for

RATE, SECONDS = 10_000, 300
FLOOD = '{service_name="flood"}'


def test_no_line_is_lost(proof: Proof) -> None:
    """The number of stored lines is right for every second, and queries return new lines within a second."""
    proof.load_started = time.time() - 1
    container = _flood()
    try:
        lags = list(_lags(proof.stack.loki, container))
        assert 0 == engine.inspect(container)[0]["State"]["ExitCode"]  # it has written all lines
        proof.wait_until_settled()
    finally:
        engine.docker("rm", "--force", container)
    result = _compare(proof.stack.loki, proof.load_started)
    proof.report.lines(f"{RATE:,} lines/s from one container for {SECONDS} s (compared second by second)", result)
    percentiles = statistics.quantiles(lags, n=100)
    proof.report.row(
        report.FIGURES,
        f"{RATE:,} lines/s: age of the newest line in a query (median, p99)",
        f"{percentiles[49]:.2f} s, {percentiles[98]:.2f} s",
    )
    assert result.equal
    assert percentiles[98] <= 1 or not report.is_idle()


def _compare(loki: str, began: float) -> comparison.Comparison:
    """Compare the number of stored lines per second with the rate; Docker's log files are too small for all lines.

    If Loki's count for a second differs from the rate, compare the lines themselves: Loki counts lines that were sent
    twice, but shows them once.
    """
    counted = _stored_per_second(loki, began)
    shown, distinct = Counter[int](), Counter[int]()
    for second, count in counted.items():
        texts = [] if count == RATE else list(comparison.stored_lines(loki, FLOOD, second, second + 1))
        shown[second], distinct[second] = (len(texts), len(set(texts))) if texts else (count, count)
    return comparison.Comparison(
        written=RATE * SECONDS,
        stored=shown.total(),
        missing=RATE * SECONDS - distinct.total(),
        duplicates=shown.total() - distinct.total(),
        unknown=0,
        recounted=sum(counted.values()) - shown.total(),
    )


def _flood() -> str:
    """Start flood.py in a container with the labels, image and log options of the service; return its id."""
    (api,) = engine.inspect(engine.containers("api")["api-1"])
    labels = [f"{name}={api['Config']['Labels'][name]}" for name in ("logging", "com.docker.compose.project")]
    options = [*(f"--label={label}" for label in labels), "--cpus=1"]
    options += [f"--log-opt={name}={value}" for name, value in api["HostConfig"]["LogConfig"]["Config"].items()]
    program = Path(__file__).with_name("flood.py").read_text()
    command = ["python", "-c", program, str(RATE), str(SECONDS)]
    return engine.docker(
        "run", "--detach", "--log-driver=json-file", *options, api["Config"]["Image"], *command
    ).strip()


def _lags(loki: str, container: str) -> Iterator[float]:
    """Yield the age of the newest line in a query, in seconds, until the container exits."""
    with httpx2.Client(base_url=loki, timeout=60) as client:
        wait_for(lambda: _newest(client), "the flood")
        while engine.inspect(container)[0]["State"]["Running"]:
            for _ in range(4):
                newest = _newest(client)
                if newest:
                    yield time.time() - newest
                time.sleep(0.2)


def _newest(client: httpx2.Client) -> float:
    parameters: dict[str, str | float] = {"query": FLOOD, "limit": 1, "start": time.time() - 30, "end": time.time() + 5}
    response = client.get("/loki/api/v1/query_range", params=parameters).raise_for_status().json()
    streams = response["data"]["result"]
    return max((int(at) / 1e9 for stream in streams for at, _ in stream["values"]), default=0.0)


def _stored_per_second(loki: str, began: float) -> dict[int, int]:
    """Return the number of stored lines per second; no line has the timestamp of a whole second."""
    counts: dict[int, int] = {}
    for start in range(int(began), int(time.time()), 60):
        parameters: dict[str, str | int] = {
            "query": f"sum(count_over_time({FLOOD}[1s]))",
            "start": start + 1,
            "end": start + 60,
            "step": 1,
        }
        response = (
            httpx2.get(f"{loki}/loki/api/v1/query_range", params=parameters, timeout=120).raise_for_status().json()
        )
        for series in response["data"]["result"]:
            for at, count in series["values"]:
                counts[int(at) - 1] = int(count)
    return counts
