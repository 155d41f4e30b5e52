"""Measured runs, as they are started: real generators against a real service, and the folders that they leave."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from loadtest.profiles import PROFILES, Plan, Profile
from loadtest.run import cli
from tests.emitted import Line, parse
from tests.processes import Processes, free_port, gone
from tests.services import Service
from tests.waiting import eventually

# No other Locust or Prometheus on this machine is touched.
ALONE = {"LOCUST_URL": f"http://127.0.0.1:{free_port()}", "PROMETHEUS_URL": ""}


def start(
    processes: Processes, service: Service, folder: Path, environment: Mapping[str, str] = ALONE, **options: object
) -> None:
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "loadtest.run", "--host", service.url, "--folder", str(folder), "--run", "tried"]
    processes.start(f"run-{folder.name}", [*command, *words], environment)


def events(folder: Path, name: str) -> list[Line]:
    return [
        line for file in sorted(folder.glob("tried/*.jsonl")) for line in parse_whole(file) if line["event"] == name
    ]


def parse_whole(file: Path) -> list[Line]:
    return parse(file.read_text().rpartition("\n")[0])


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_two_generators_are_one_run(processes: Processes, loaded: Service, tmp_path: Path, loop: str) -> None:
    """No id is sent twice, counts add up, each file has its last line, and the service logged each request."""
    start(processes, loaded, tmp_path, workers=2, rate=20, seconds=4, loop=loop)
    assert 0 == processes.wait(f"run-{tmp_path.name}"), processes.last_lines(f"run-{tmp_path.name}")

    sent = events(tmp_path, "request.sent")
    (started,), (stopped,) = events(tmp_path, "run.started"), events(tmp_path, "run.stopped")
    ends = events(tmp_path, "generator.stopped")
    assert (2, loop, 20, 4, "steady") == tuple(
        started[key] for key in ("workers", "loop", "rate", "seconds", "profile")
    )
    assert [0, 1] == [end["worker"] for end in ends]
    assert len(sent) == stopped["requests"] == sum(end["requests"] for end in ends)
    assert (0, False) == (stopped["failures"], stopped["interrupted"])
    assert len(sent) == len({line["request_id"] for line in sent}) == len({line["trace_id"] for line in sent})
    logged = {line["trace_id"]: line for line in loaded.lines() if line.get("event") == "request.finished"}
    for line in sent:
        assert all(line[key] == logged[line["trace_id"]][key] for key in ("request_id", "method", "route", "status"))
        assert 0 < line["server_ms"] <= logged[line["trace_id"]]["duration_ms"] + 0.001
        assert line["client_ms"] >= line["server_ms"] + line["late_ms"]
    assert all(0 <= line["cpu"] < 2 and line["in_flight"] >= 0 for line in events(tmp_path, "generator.sampled"))
    if loop == "open":
        counted = Counter(line["request_id"].rpartition("-")[0] for line in sent)
        assert {"tried-0": 40, "tried-1": 40} == counted


def test_the_open_loop_does_not_wait_for_a_service_that_stands_still(
    processes: Processes, loaded: Service, tmp_path: Path
) -> None:
    """It sends all requests, and each waits; the closed loop sends fewer, and hides most of the waiting."""
    slow = {}
    for loop in ("open", "closed"):
        folder = tmp_path / loop
        start(processes, loaded, folder, rate=20, seconds=8, loop=loop)
        eventually(lambda folder=folder: events(folder, "request.sent"), "the first requests")  # type: ignore[misc]
        processes.signal("loaded", signal.SIGSTOP)
        time.sleep(3)
        processes.signal("loaded", signal.SIGCONT)
        assert 0 == processes.wait(f"run-{loop}")
        sent = events(folder, "request.sent")
        slow[loop] = [line["client_ms"] for line in sent if line["client_ms"] > 500]
        if loop == "open":
            assert 160 == len(sent)
            gaps = sorted(line["timestamp"] for line in sent)
            assert gaps == sorted(set(gaps))  # no two were due at the same time
            assert 2500 < max(slow[loop])
            assert max(line["late_ms"] for line in sent) < 2500  # they left while others waited
        else:
            assert len(sent) < 150
    assert len(slow["open"]) > 40
    assert len(slow["closed"]) < len(slow["open"])


def test_a_lost_generator_is_seen(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """The run ends anyway, and the file of the killed generator has no last line."""
    start(processes, loaded, tmp_path, workers=2, rate=10, seconds=8)
    name = f"run-{tmp_path.name}"
    eventually(lambda: len(list(tmp_path.glob("tried/sent-*.jsonl"))) == 2, "both generators")
    workers = descendants(processes.pid(name))
    assert 2 == len(workers)
    os.kill(workers[0], signal.SIGKILL)

    assert 0 == processes.wait(name)
    assert "1 of 2 workers were lost.\n" in processes.errors(name).read_text()
    assert 1 == len(events(tmp_path, "generator.stopped"))
    assert 40 == events(tmp_path, "generator.stopped")[0]["requests"]
    assert 1 == len(events(tmp_path, "run.stopped"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PR_SET_PDEATHSIG")
def test_a_run_can_be_killed(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """Its generators end, too."""
    start(processes, loaded, tmp_path, workers=2, rate=10, seconds=60)
    name = f"run-{tmp_path.name}"
    eventually(lambda: events(tmp_path, "request.sent"), "the first requests")
    generators = descendants(processes.pid(name))
    assert 2 == len(generators)
    processes.kill(name)

    eventually(lambda: gone(generators), "the end of the generators")


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_can_be_interrupted(processes: Processes, loaded: Service, tmp_path: Path, workers: int) -> None:
    """After Ctrl-C the responses are waited for, all files have their last lines, and the run is marked."""
    start(processes, loaded, tmp_path, workers=workers, rate=10, seconds=60)
    name = f"run-{tmp_path.name}"
    eventually(lambda: events(tmp_path, "request.sent"), "the first requests")
    processes.signal(name, signal.SIGINT)

    assert 130 == processes.wait(name)
    (stopped,) = events(tmp_path, "run.stopped")
    assert stopped["interrupted"] is True
    assert stopped["requests"] == len(events(tmp_path, "request.sent"))
    assert workers == len(events(tmp_path, "generator.stopped"))


def test_a_prometheus_that_is_away_is_one_warning(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """The load goes on."""
    away = f"http://127.0.0.1:{free_port()}"
    start(processes, loaded, tmp_path, {**ALONE, "PROMETHEUS_URL": away}, workers=2, rate=10, seconds=8)
    name = f"run-{tmp_path.name}"
    assert 0 == processes.wait(name)
    sentence = f"The metrics of the load are lost: Prometheus at {away} does not accept them\n"
    assert sentence == processes.errors(name).read_text()
    assert 80 == len(events(tmp_path, "request.sent"))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--rate", "none"], r"Error: Invalid value for '--rate': Input should be a valid number, .*"),
        (["--rate", "0"], r"--rate: Input should be greater than 0."),
        (["--loop", "square"], r"Error: Invalid value for '--loop': .*'square' is not one of 'open', 'closed'."),
        (["--workers", "0"], r"--workers: .*"),
        (["--run", "a-b"], r"--run: .*"),
        (["--what"], r"Error: No such option: --what.*"),
        (["--users", "/nowhere"], r"--users: Cannot read /nowhere: No such file or directory."),
        (["--host", "http://127.0.0.1:1"], r"--host: http://127.0.0.1:1 does not answer, start the service first."),
        (["--folder", "/proc/none"], r"--folder: cannot write to /proc/none: .*"),
    ],
)
def test_a_mistake_is_one_sentence(loaded: Service, options: list[str], error: str) -> None:
    """Exit code 2, and what is wrong in the last line."""
    command = [sys.executable, "-m", "loadtest.run", "--host", loaded.url, *options]
    done = subprocess.run(command, env={**os.environ, **ALONE}, capture_output=True, text=True, check=False)  # noqa: S603
    assert 2 == done.returncode
    assert "Traceback" not in done.stderr
    assert re.fullmatch(error, done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    "text", ["Browse = -1", "Browse = 0", "Browse = 1.5", "Steal = 1", "", "Browse", "[Browse]\nweight = 1"]
)
def test_a_bad_file_of_weights_is_refused(tmp_path: Path, text: str) -> None:
    """With its name, in one line."""
    file = tmp_path / "users.toml"
    file.write_text(text)
    done = CliRunner().invoke(cli, ["--users", str(file)])
    assert 2 == done.exit_code
    assert re.fullmatch(rf"--users: {re.escape(str(file))}.*\n", done.stderr)


def test_weights_choose_users(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """A class that the file does not name has no users."""
    file = tmp_path / "users.toml"
    file.write_text("Buy = 1")
    start(processes, loaded, tmp_path, rate=10, seconds=2, users=file)
    assert 0 == processes.wait(f"run-{tmp_path.name}"), processes.last_lines(f"run-{tmp_path.name}")
    assert {("POST", "/orders")} == {(line["method"], line["route"]) for line in events(tmp_path, "request.sent")}
    assert {"Browse": 0, "Buy": 1, "Report": 0} == events(tmp_path, "run.started")[0]["users"]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize(("rate", "seconds"), [(1, 1), (0.7, 3), (20, 60), (33, 7.5)])
def test_a_plan_has_the_planned_number_of_requests(profile: Profile, rate: float, seconds: float) -> None:
    """In order, within the run, and at the rate of their stage."""
    plan = Plan(profile, rate, seconds)
    due = list(plan.due())
    assert plan.arrivals == len(due)
    assert due == sorted(due)
    assert 0 == due[0]
    assert due[-1] < seconds
    assert all(plan.rate_at(moment) > 0 for moment in due)
    assert 0 == plan.rate_at(seconds)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_load_of_the_stack_is_paused(processes: Processes, loaded: Service, tmp_path: Path, workers: int) -> None:
    """It sends nothing during the run, and has as many users as before afterwards."""
    port, between = free_port(), str(free_port())
    ports = {"LOCUST_MASTER_BIND_PORT": between, "LOCUST_MASTER_NODE_PORT": between, "LOAD_WORKERS": str(workers)}
    name = f"own-load-{workers}"
    settings = {"LOAD_TARGET": loaded.url, "LOAD_PORT": str(port), "LOAD_USERS": "3", "LOAD_INCIDENTS": "off"}
    processes.start(name, [sys.executable, "-m", "loadtest"], {**settings, **ports})
    if workers:
        processes.start(f"{name}-worker", [sys.executable, "-m", "loadtest", "worker"], ports)
    own = Service("loadtest", f"http://127.0.0.1:{port}", processes.output(name), loaded.client)
    own.event("run.started")
    eventually(lambda: users_of(own.url) == 3, "its users")
    command = [sys.executable, "-m", "loadtest.run", "--host", loaded.url, "--folder", str(tmp_path)]
    processes.start(
        f"beside-{workers}", [*command, "--run", "tried", "--seconds", "3"], {**ALONE, "LOCUST_URL": own.url}
    )
    assert 0 == processes.wait(f"beside-{workers}")

    assert "The load of the stack is paused during the run.\n" in processes.output(f"beside-{workers}").read_text()
    during = sorted(line["timestamp"] for line in events(tmp_path, "request.sent"))
    first, last = during[0], during[-1]
    lines = [line for line in loaded.lines() if line.get("event") == "request.finished"]
    others = [line for line in lines if not line.get("request_id", "").startswith("tried-")]
    assert not [line for line in others if first < line["timestamp"] < last]
    eventually(lambda: users_of(own.url) == 3, "its users again")
    for process in [f"{name}-worker"] * workers + [name]:
        processes.stop(process)


def users_of(url: str) -> int:

    count: int = httpx2.get(f"{url}/stats/requests").json()["user_count"]
    return count
