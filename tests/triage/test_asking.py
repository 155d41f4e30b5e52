"""The stack is asked of a run, once it can know, and told of the answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.triage.answering import Answering
from tests.triage.conftest import Typed
from tests.triage.emitting import T0, Emitting
from tests.triage.memory import MemoryStore
from tests.triage.running import Running, running
from triage import asking
from triage import stack as stores_of_stack
from triage.model import Window

THRESHOLDS = Path(__file__).parents[2] / "loadtest/thresholds.toml"
END = T0 + 21
PUSH = "/loki/loki/api/v1/push"


class Clock:
    """Whoever sleeps is awake at once, and it is later."""

    def __init__(self) -> None:
        """Begin as the run ends."""
        self.now = END

    def time(self) -> float:
        """Say when it is."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it be later."""
        self.now += seconds


class Stack:
    """What Loki and Prometheus have of a run; a late line comes when it is time."""

    def __init__(self, run: Running, clock: Clock) -> None:
        """Have a line for each request, and a scrape at the end."""
        self.api, self.clock = Emitting(), clock
        self.windows: list[Window] = []
        self.late: tuple[float, str] = (0.0, "")
        self.api.start(T0 - 2)
        for line in run.requests:
            about = {name: line[name] for name in ("method", "route", "status", "trace_id", "request_id")}
            if line["status"] is not None:
                self.api.finish(_at(line) + line["client_ms"] / 1000, line["server_ms"], **about)
        self.api.scrape(END + 10)

    def store(self, _server: object, window: Window) -> MemoryStore:
        """Stand in for either store."""
        self.windows.append(window)
        at, trace_id = self.late
        return MemoryStore(line for line in self.api.lines if line.get("trace_id") != trace_id or self.clock.now >= at)


def _at(line: dict[str, Any]) -> float:
    number = int(line["request_id"].rpartition("-")[2])
    return T0 + number / 50


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asking, "time", clock)
    return clock


@pytest.fixture
def judged(
    typed: Typed, tmp_path: Path, servers: Answering, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Write a run, and ask for its verdict of this stack."""
    for name, value in servers.environment().items():
        monkeypatch.setenv(name, value)
    servers.answers |= {"/loki/ready": (200, ""), "/prometheus/-/ready": (200, ""), PUSH: (204, "")}

    def judge(run: Running, stack: Stack, *words: object) -> tuple[int, str, str]:
        run.write(tmp_path)
        for name in ("Loki", "Prometheus"):
            monkeypatch.setattr(stores_of_stack, f"{name}Store", stack.store)
        return typed("verdict", "--runs", tmp_path, "--thresholds", THRESHOLDS, "--json", *words)

    return judge


def test_a_run_that_agrees(judged: Typed, clock: Clock) -> None:
    """The stack is asked once, when the last scrape is over, of the run and fifteen seconds on both sides."""
    run = running()
    stack = Stack(run, clock)
    code, out, err = judged(run, stack)
    assert (0, "") == (code, err)
    told = json.loads(out)
    assert (0, []) == (told["reconciliation"]["differences"], told["dead_links"])
    assert ["differences", "dead"] == [check["what"] for check in told["checks"][-2:]]
    assert [Window(T0 - 16, END + 15)] * 2 == stack.windows
    assert clock.now == END + 15


def test_lines_that_are_late_and_lines_that_are_lost(judged: Typed, clock: Clock) -> None:
    """What differs is asked for again for half a minute; then it is a difference, and a slow one's link is dead."""
    run = running()
    slowest = max(run.requests, key=lambda line: line["client_ms"])
    stack = Stack(run, clock)
    stack.late = END + 30, slowest["trace_id"]
    assert 0 == judged(run, stack)[0]
    assert END + 30 <= clock.now < END + 40
    stack.late = float("inf"), slowest["trace_id"]
    code, out, _ = judged(run, stack)
    told = json.loads(out)
    assert code == 1
    assert END + 45 <= clock.now < END + 55
    assert [slowest["trace_id"]] == told["dead_links"]
    # It was counted, too.
    assert told["reconciliation"]["differences"] == 2
    assert (None, "not in the logs") == (told["requests"][0]["link"], told["requests"][0]["without"])


def test_a_request_that_never_arrived(judged: Typed, clock: Clock) -> None:
    """Nobody can have its lines, so it is no dead link and no difference; but it failed."""
    run = running()
    for line in run.requests[7:9]:
        line.update(status=None, server_ms=None)
    code, out, _ = judged(run, Stack(run, clock))
    told = json.loads(out)
    assert (1, [], 0) == (code, told["dead_links"], told["reconciliation"]["differences"])
    assert (None, "never arrived") == (told["requests"][-1]["link"], told["requests"][-1]["without"])


def test_what_loki_is_told(judged: Typed, clock: Clock, servers: Answering) -> None:
    """A run's beginning, end, verdict and worst requests are lines with the labels of all others, at their times."""
    run = running()
    for line in run.requests[7:9]:
        line["status"] = 503
    judged(run, Stack(run, clock))
    ((path, body),) = servers.posted
    assert path == PUSH
    told: list[dict[str, Any]] = []
    for stream in json.loads(body)["streams"]:
        assert {"service_name", "instance", "level"} == set(stream["stream"])
        for at, text, metadata in stream["values"]:
            line = json.loads(text)
            assert {"trace_id": line["trace_id"]} == metadata
            assert stream["stream"] == {
                "service_name": line["service"],
                "instance": line["instance"],
                "level": line["level"],
            }
            told.append(line | {"at": int(at) / 1e9})
    by_event = {event: [line for line in told if line["event"] == event] for event in {line["event"] for line in told}}
    assert {"run.started": 1, "run.stopped": 1, "run.verdict": 1, "run.slow": 12} == {
        event: len(lines) for event, lines in by_event.items()
    }
    (verdict,) = by_event["run.verdict"]
    assert ("FAIL", 1000, 2, 50.0) == tuple(
        verdict[name] for name in ("verdict", "requests", "failures", "achieved_rate")
    )
    assert ((T0 - 1) * 1000, END * 1000, END) == (verdict["from"], verdict["to"], verdict["at"])
    failed, _ = [line for line in by_event["run.slow"] if line["why"] == "failed"]
    about = {
        name: run.requests[7][name] for name in ("trace_id", "request_id", "method", "route", "client_ms", "server_ms")
    }
    assert about.items() <= failed.items()
    assert (2.0, "503", T0 + 0.14) == (failed["difference_ms"], failed["status"], failed["at"])


def test_loki_does_not_listen(judged: Typed, clock: Clock, servers: Answering) -> None:
    """That it refuses what it is told is one sentence, and changes no verdict."""
    run = running()
    stack = Stack(run, clock)
    servers.answers[PUSH] = 500, "no space\x1b[31m"
    code, out, err = judged(run, stack)
    assert (0, "PASS") == (code, json.loads(out)["verdict"])
    assert err.startswith("Grafana will not show this run: Loki at ")
    assert err[:-1].isprintable()


@pytest.mark.parametrize(("lost", "said"), [("loki", "Loki at"), ("prometheus", "Prometheus at"), ("", "no samples")])
def test_the_stack_cannot_tell(judged: Typed, clock: Clock, servers: Answering, lost: str, said: str) -> None:
    """A stack that does not answer or does not know the service is a sentence and 2; if it is away, without a wait."""
    run = running()
    stack = Stack(run, clock)
    if lost:
        servers.answers = {path: answer for path, answer in servers.answers.items() if lost not in path}
    else:
        stack.api.lines = [line for line in stack.api.lines if "metric" not in line]
    code, out, err = judged(run, stack)
    assert (2, "") == (code, out)
    assert said in err
    assert "--no-stack" in err
    assert (clock.now == END) == bool(lost)
