"""The verdict on a load run with the stack: it is compared with logs and metrics, and pushed to Loki."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtest import stack_check
from tests.triage.conftest import RunCli, StoreLines
from tests.triage.fake_runs import FakeRun, fake_run
from tests.triage.fake_servers import FakeServer
from tests.triage.fake_service import T0, FakeService, Line
from triage import cli, endpoints
from triage.models import Window
from triage.stores.jsonl import JsonlStore

THRESHOLDS = Path(__file__).parents[2] / "loadtest/thresholds.toml"
END = T0 + 21
RATE = 10  # requests per second
PUSH = "/loki/loki/api/v1/push"


class FakeClock:
    """A clock that `sleep` advances."""

    def __init__(self) -> None:
        """Start at the end of the run."""
        self.now = END

    def time(self) -> float:
        """Return the current time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds


class FakeStack:
    """The lines and samples of a run in Loki and Prometheus; the lines of one trace may arrive late."""

    def __init__(self, run: FakeRun, clock: FakeClock, store_lines: StoreLines) -> None:
        """Log and count all requests of the run, with a scrape at the end."""
        self.api, self._clock, self._store_lines = FakeService(), clock, store_lines
        self.windows: list[Window] = []
        self.late: tuple[float, str] = (0.0, "")
        self.api.start(T0 - 2)
        for line in run.requests:
            about = {name: line[name] for name in ("method", "route", "status", "trace_id", "request_id")}
            if line["status"] is not None:
                self.api.finish(_at(line) + line["client_ms"] / 1000, line["server_ms"], **about)
        self.api.scrape(END + 10)

    def store(self, _client: object, window: Window) -> JsonlStore:
        """Return the store of logs or metrics."""
        self.windows.append(window)
        arrival, trace_id = self.late
        hidden = trace_id if self._clock.now < arrival else None
        return self._store_lines(line for line in self.api.lines if line.get("trace_id", "") != hidden)


def _at(line: Line) -> float:
    number = int(line["request_id"].rpartition("-")[2])
    return T0 + number / RATE


def short_run() -> FakeRun:
    """Return a run of 200 requests, which pass the thresholds."""
    return fake_run(rate=RATE)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(stack_check, "time", clock)
    return clock


@pytest.fixture
def stack_of(clock: FakeClock, store_lines: StoreLines) -> Callable[[FakeRun], FakeStack]:
    return lambda run: FakeStack(run, clock, store_lines)


StackOf = Callable[[FakeRun], FakeStack]


@pytest.fixture
def verdict_of(
    run_cli: RunCli, tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that writes a run and judges it with a stack."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.responses |= {"/loki/ready": (200, ""), "/prometheus/-/ready": (200, ""), PUSH: (204, "")}

    def verdict(run: FakeRun, stack: FakeStack, *words: object) -> tuple[int, str, str]:
        run.write(tmp_path / "runs")
        for name in ("Loki", "Prometheus"):
            monkeypatch.setattr(endpoints, f"{name}Store", stack.store)
        return run_cli("verdict", "--runs", tmp_path / "runs", "--thresholds", THRESHOLDS, "--json", *words)

    return verdict


def test_agreement(verdict_of: RunCli, stack_of: StackOf, clock: FakeClock) -> None:
    """The stack is queried once, after the last scrape, for the time of the run with a margin."""
    run = short_run()
    stack = stack_of(run)
    code, out, err = verdict_of(run, stack)
    assert (0, "") == (code, err)
    verdict = json.loads(out)
    assert (0, []) == (verdict["reconciliation"]["differences"], verdict["dead_links"])
    assert ["differences", "dead"] == [check["what"] for check in verdict["checks"][-2:]]
    assert [Window(T0 - 16, END + 15)] * 2 == stack.windows
    assert clock.now == END + 15


def test_the_wait_for_the_last_scrape_has_no_limit(
    verdict_of: RunCli, stack_of: StackOf, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit does not include it."""
    sleep = clock.sleep

    def really_sleep(seconds: float) -> None:
        time.sleep(4.5)
        sleep(seconds)

    run = short_run()
    monkeypatch.setattr(cli, "TIME_LIMIT", 4.0)
    monkeypatch.setattr(clock, "sleep", really_sleep)
    code, _, err = verdict_of(run, stack_of(run))
    assert (0, "") == (code, err)


def test_late_and_lost_lines(verdict_of: RunCli, stack_of: StackOf, clock: FakeClock) -> None:
    """Missing lines are queried again for half a minute; then they are a difference and a dead link."""
    run = short_run()
    slowest = max(run.requests, key=lambda line: line["client_ms"])
    stack = stack_of(run)
    stack.late = END + 30, slowest["trace_id"]
    assert 0 == verdict_of(run, stack)[0]
    assert END + 30 <= clock.now < END + 40
    stack.late = float("inf"), slowest["trace_id"]
    code, out, _ = verdict_of(run, stack)
    verdict = json.loads(out)
    assert code == 1
    assert END + 45 <= clock.now < END + 55
    assert [slowest["trace_id"]] == verdict["dead_links"]
    # It is missing among the lines that were sent, and among those that were counted.
    assert verdict["reconciliation"]["differences"] == 2
    assert (None, "not in the logs") == (verdict["requests"][0]["link"], verdict["requests"][0]["without"])


def test_requests_that_never_arrived(verdict_of: RunCli, stack_of: StackOf) -> None:
    """They failed, but are neither dead links nor differences."""
    run = short_run()
    for line in run.requests[7:9]:
        line.update(status=None, server_ms=None)
    code, out, _ = verdict_of(run, stack_of(run))
    verdict = json.loads(out)
    assert (1, [], 0) == (code, verdict["dead_links"], verdict["reconciliation"]["differences"])
    assert (None, "never arrived") == (verdict["requests"][-1]["link"], verdict["requests"][-1]["without"])


def test_clocks_that_differ(verdict_of: RunCli, stack_of: StackOf) -> None:
    """A run whose lines have other times at the service is not compared, and INVALID instead of FAIL."""
    run = short_run()
    run.started["clock_offset_s"] = 60
    stack = stack_of(run)
    stack.api.lines = [line for line in stack.api.lines if line.get("event") != "request.finished"]
    code, out, _ = verdict_of(run, stack)
    verdict = json.loads(out)
    assert (3, "INVALID", None) == (code, verdict["verdict"], verdict["reconciliation"])
    assert "Synchronize the clocks." in verdict["why"]
    run.started["clock_offset_s"] = 3
    assert 1 == verdict_of(run, stack)[0]


def test_lines_that_are_pushed_to_loki(verdict_of: RunCli, stack_of: StackOf, server: FakeServer) -> None:
    """The start, end, verdict and listed requests of a run are log lines with labels, at their own times."""
    run = short_run()
    for line in run.requests[7:9]:
        line["status"] = 503
    verdict_of(run, stack_of(run))
    ((path, body),) = server.posts
    assert path == PUSH
    pushed: list[dict[str, Any]] = []
    for stream in json.loads(body)["streams"]:
        for at, text, metadata in stream["values"]:
            line = json.loads(text)
            assert {"trace_id": line["trace_id"], "instance": line["instance"]} == metadata
            assert {"service_name": line["service"], "level": line["level"]} == stream["stream"]
            pushed.append(line | {"at": int(at) / 1e9})
    events = {line["event"] for line in pushed}
    by_event = {event: [line for line in pushed if line["event"] == event] for event in events}
    assert {"run.started": 1, "run.stopped": 1, "run.verdict": 1, "run.slow": 12} == {
        event: len(lines) for event, lines in by_event.items()
    }
    (verdict,) = by_event["run.verdict"]
    assert ("FAIL", 200, 2, 10.0) == tuple(
        verdict[name] for name in ("verdict", "requests", "failures", "achieved_rate")
    )
    assert ((T0 - 1) * 1000, END * 1000, END) == (verdict["from"], verdict["to"], verdict["at"])
    failed, _ = [line for line in by_event["run.slow"] if line["why"] == "failed"]
    about = {
        name: run.requests[7][name] for name in ("trace_id", "request_id", "method", "route", "client_ms", "server_ms")
    }
    assert about.items() <= failed.items()
    assert (2.0, "503", T0 + 0.7) == (failed["difference_ms"], failed["status"], failed["at"])


def test_loki_rejects_the_verdict(verdict_of: RunCli, stack_of: StackOf, server: FakeServer) -> None:
    """That is an error message of one sentence, and does not change the verdict."""
    run = short_run()
    server.responses[PUSH] = 500, "no space\x1b[31m"
    code, out, err = verdict_of(run, stack_of(run))
    assert (0, "PASS") == (code, json.loads(out)["verdict"])
    assert err.startswith("Grafana will not show this run: Loki at ")
    assert err[:-1].isprintable()


@pytest.mark.parametrize(
    ("stopped", "message"), [("loki", "Loki at"), ("prometheus", "Prometheus at"), ("", "no samples")]
)
def test_stack_without_data(
    verdict_of: RunCli, stack_of: StackOf, clock: FakeClock, server: FakeServer, stopped: str, message: str
) -> None:
    """A stack that does not respond, or has no samples of the service, is an error; the former without a wait."""
    run = short_run()
    stack = stack_of(run)
    if stopped:
        server.responses = {path: response for path, response in server.responses.items() if stopped not in path}
    else:
        stack.api.lines = [line for line in stack.api.lines if "metric" not in line]
    code, out, err = verdict_of(run, stack)
    assert (2, "") == (code, out)
    assert message in err
    assert "--no-stack" in err
    assert (clock.now == END) == bool(stopped)
