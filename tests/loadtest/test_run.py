"""Measured runs, as they are started: real generators against a real service, and the folders that they leave."""

import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from typer.testing import CliRunner

from loadtest.profiles import PROFILES, Plan, Profile
from loadtest.run import cli
from tests.emitted import Line, parse
from tests.processes import Processes, all_exited, free_port
from tests.services import Service
from tests.waiting import wait_for

# No other Locust or Prometheus on this machine is used.
ALONE = {"LOCUST_URL": f"http://127.0.0.1:{free_port()}", "PROMETHEUS_URL": ""}


def start(
    processes: Processes, service: Service, folder: Path, environment: Mapping[str, str] = ALONE, **options: object
) -> str:
    """Start a measured run, and return the name of its process."""
    name = f"run-{folder.name}"
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    command = [sys.executable, "-m", "loadtest.run", "--host", service.url, "--folder", str(folder), "--run", "tried"]
    processes.start(name, [*command, *words], environment)
    return name


def events(folder: Path, name: str) -> list[Line]:
    """Return the lines of an event in all files of the run."""
    lines = [
        line for file in sorted(folder.glob("tried/*.jsonl")) for line in parse(file.read_text().rpartition("\n")[0])
    ]
    return [line for line in lines if line["event"] == name]


def check_counts(folder: Path, loaded: Service) -> None:
    """Check that all files of a run with two generators agree with each other and with the service's log lines."""
    sent, ends = events(folder, "request.sent"), events(folder, "generator.stopped")
    (stopped,) = events(folder, "run.stopped")
    assert [0, 1] == [end["worker"] for end in ends]
    assert len(sent) == stopped["requests"] == sum(end["requests"] for end in ends) > 0
    assert (0, False) == (stopped["failures"], stopped["interrupted"])
    assert len(sent) == len({line["request_id"] for line in sent}) == len({line["trace_id"] for line in sent})
    logged = {line["trace_id"]: line for line in loaded.lines() if line.get("event") == "request.finished"}
    for line in sent:
        assert all(line[key] == logged[line["trace_id"]][key] for key in ("request_id", "method", "route", "status"))
        assert 0 < line["server_ms"] <= logged[line["trace_id"]]["duration_ms"] + 0.001
        assert line["client_ms"] >= line["server_ms"] + line["late_ms"]
    assert all(0 <= line["cpu"] < 2 and line["in_flight"] >= 0 for line in events(folder, "generator.sampled"))


def test_open_loop_without_prometheus(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """Two generators send exactly the planned requests; a Prometheus that does not respond is one warning."""
    stopped = f"http://127.0.0.1:{free_port()}"
    environment = {**ALONE, "PROMETHEUS_URL": stopped}
    name = start(processes, loaded, tmp_path, environment, workers=2, rate=20, seconds=3)
    assert 0 == processes.wait(name), processes.last_lines(name)

    check_counts(tmp_path, loaded)
    (started,) = events(tmp_path, "run.started")
    plan = {"workers": 2, "loop": "open", "rate": 20, "seconds": 3, "profile": "steady"}
    assert plan.items() <= started.items()
    counted = Counter(line["request_id"].rpartition("-")[0] for line in events(tmp_path, "request.sent"))
    assert {"tried-0": 30, "tried-1": 30} == counted
    warning = f"The metrics of the load are lost: Prometheus at {stopped} does not accept them\n"
    assert warning == processes.errors(name).read_text()


def test_closed_loop_with_chosen_users(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """A file of weights chooses the user classes: one that it does not name has no users."""
    file = tmp_path / "users.toml"
    file.write_text("Buy = 1")
    name = start(processes, loaded, tmp_path, workers=2, rate=10, seconds=3, loop="closed", users=file)
    assert 0 == processes.wait(name), processes.last_lines(name)

    check_counts(tmp_path, loaded)
    assert {("POST", "/orders")} == {(line["method"], line["route"]) for line in events(tmp_path, "request.sent")}
    (started,) = events(tmp_path, "run.started")
    assert ("closed", {"Browse": 0, "Buy": 1, "Report": 0}) == (started["loop"], started["users"])


def test_only_the_open_loop_measures_a_stall(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """While the service is stopped, the open loop sends all requests, and each waits; the closed loop sends fewer."""
    loops = ("open", "closed")
    runs = [start(processes, loaded, tmp_path / loop, rate=20, seconds=8, loop=loop) for loop in loops]
    wait_for(lambda: all(events(tmp_path / loop, "request.sent") for loop in loops), "the first requests", 60)
    processes.signal("loaded", signal.SIGSTOP)
    time.sleep(3)
    processes.signal("loaded", signal.SIGCONT)
    assert [0, 0] == [processes.wait(run) for run in runs]

    sent = {loop: events(tmp_path / loop, "request.sent") for loop in loops}
    slow = {loop: [line["client_ms"] for line in sent[loop] if line["client_ms"] > 500] for loop in loops}
    assert 160 == len(sent["open"]) > len(sent["closed"])
    assert len({line["timestamp"] for line in sent["open"]}) == 160  # no two were due at the same time
    assert 2500 < max(slow["open"])
    assert max(line["late_ms"] for line in sent["open"]) < 2500  # they were sent while others waited
    assert len(slow["open"]) > 40
    assert len(slow["closed"]) < len(slow["open"])


def test_lost_generator(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """If a generator is killed, the others finish the run, and the output has a warning."""
    name = start(processes, loaded, tmp_path, workers=2, rate=10, seconds=5)
    wait_for(lambda: len(list(tmp_path.glob("tried/sent-*.jsonl"))) == 2, "both generators", 60)
    generators = children(processes.pid(name))
    assert 2 == len(generators)
    os.kill(generators[0], signal.SIGKILL)

    assert 0 == processes.wait(name)
    assert "1 of 2 workers were lost.\n" in processes.errors(name).read_text()
    (end,) = events(tmp_path, "generator.stopped")
    assert 25 == end["requests"]
    assert 1 == len(events(tmp_path, "run.stopped"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PR_SET_PDEATHSIG")
def test_killed_run(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """The generators of a run that is killed end, too."""
    name = start(processes, loaded, tmp_path, rate=10, seconds=60)
    wait_for(lambda: events(tmp_path, "request.sent"), "the first requests", 60)
    generators = children(processes.pid(name))
    assert 1 == len(generators)
    processes.kill(name)

    wait_for(lambda: all_exited(generators), "the end of the generator")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_interrupted_run(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """After Ctrl-C a run waits for responses, all files have their last lines, and the run is marked."""
    name = start(processes, loaded, tmp_path, workers=2, rate=10, seconds=60)
    wait_for(lambda: len({line["request_id"][:7] for line in events(tmp_path, "request.sent")}) == 2, "requests", 60)
    processes.signal(name, signal.SIGINT)

    assert 130 == processes.wait(name)
    (stopped,) = events(tmp_path, "run.stopped")
    assert stopped["interrupted"] is True
    assert stopped["requests"] == len(events(tmp_path, "request.sent"))
    assert 2 == len(events(tmp_path, "generator.stopped"))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--rate", "none"], r"Error: Invalid value for '--rate': Input should be a valid number, .*"),
        (["--rate", "0"], r"--rate: Input should be greater than 0\."),
        (["--loop", "square"], r"Error: Invalid value for '--loop': .*'square' is not one of 'open', 'closed'\."),
        (["--run", "a-b"], r"--run: .*"),
        (["--what"], r"Error: No such option: --what.*"),
        (["--users", "/nowhere"], r"--users: Cannot read /nowhere: No such file or directory\."),
        (["--host", "http://127.0.0.1:1"], r"--host: http://127.0.0.1:1 does not answer, start the service first\."),
        (["--folder", "/proc/none"], r"--folder: cannot write to /proc/none: .*"),
    ],
)
def test_invalid_options(loaded: Service, options: list[str], error: str) -> None:
    """The exit code is 2, and the last line of the message names the option."""
    done = CliRunner().invoke(cli, ["--host", loaded.url, *options])
    assert 2 == done.exit_code
    assert re.fullmatch(error, done.stderr.splitlines()[-1])


@pytest.mark.parametrize("text", ["Browse = -1", "Browse = 0", "Browse = 1.5", "Steal = 1", "", "Browse"])
def test_invalid_file_of_weights(tmp_path: Path, text: str) -> None:
    """The exit code is 2, and the error is one line with the name of the file."""
    file = tmp_path / "users.toml"
    file.write_text(text)
    done = CliRunner().invoke(cli, ["--users", str(file)])
    assert 2 == done.exit_code
    assert re.fullmatch(rf"--users: {re.escape(str(file))}.*\n", done.stderr)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_plan_has_the_planned_number_of_requests(profile: Profile) -> None:
    """Requests are due in order, within the run, and at the rate of their stage."""
    for rate, seconds in ((1, 1), (0.7, 3), (20, 60), (33, 7.5)):
        plan = Plan(profile, rate, seconds)
        due = list(plan.due())
        assert plan.arrivals == len(due)
        assert due == sorted(due)
        assert 0 == due[0]
        assert due[-1] < seconds
        assert all(plan.rate_at(moment) > 0 for moment in due)
        assert 0 == plan.rate_at(seconds)


def test_the_load_of_the_stack_is_paused(processes: Processes, loaded: Service, tmp_path: Path) -> None:
    """The load of the stack sends no requests during a run, and has as many users as before afterwards."""
    port, between = free_port(), str(free_port())
    ports = {"LOCUST_MASTER_BIND_PORT": between, "LOCUST_MASTER_NODE_PORT": between, "LOAD_WORKERS": "1"}
    settings = {"LOAD_TARGET": loaded.url, "LOAD_PORT": str(port), "LOAD_USERS": "3", "LOAD_INCIDENTS": "off"}
    processes.start("stack-load", [sys.executable, "-m", "loadtest"], {**settings, **ports})
    processes.start("stack-worker", [sys.executable, "-m", "loadtest", "worker"], ports)
    url = f"http://127.0.0.1:{port}"
    processes.wait_until_ready("stack-load", f"{url}/", 60)
    wait_for(lambda: users_of(url) == 3, "the users of the stack's load", 60)
    name = start(processes, loaded, tmp_path, {**ALONE, "LOCUST_URL": url}, seconds=3)
    assert 0 == processes.wait(name, 120)

    assert "The load of the stack is paused during the run.\n" in processes.output(name).read_text()
    during = sorted(line["timestamp"] for line in events(tmp_path, "request.sent"))
    lines = [line for line in loaded.lines() if line.get("event") == "request.finished"]
    others = [line for line in lines if not line.get("request_id", "").startswith("tried-")]
    assert not [line for line in others if during[0] < line["timestamp"] < during[-1]]
    wait_for(lambda: users_of(url) == 3, "the users of the stack's load", 60)
    for process in ("stack-worker", "stack-load"):
        processes.stop(process)


def users_of(url: str) -> int:
    count: int = httpx2.get(f"{url}/stats/requests").json()["user_count"]
    return count


@pytest.mark.parametrize(
    ("date", "least", "most"),
    [(-60, 57, 60), (0, 0, 0), (60, -60.5, -58), (None, None, None)],
    ids=["ahead", "equal", "behind", "unknown"],
)
def test_clock_offset(
    processes: Processes, tmp_path: Path, date: float | None, least: float | None, most: float | None
) -> None:
    """A run records how far its clock is ahead of the service's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            if date is not None:
                self.send_header("Date", formatdate(time.time() + date, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}"
        command = [sys.executable, "-m", "loadtest.run", "--host", host, "--folder", str(tmp_path), "--run", "tried"]
        processes.start("run", [*command, "--rate", "5", "--seconds", "1"], ALONE)
        assert 0 == processes.wait("run"), processes.last_lines("run")
        server.shutdown()
    (started,) = events(tmp_path, "run.started")
    offset = started["clock_offset_s"]
    assert offset == least or least <= offset <= most


def test_too_many_open_files(processes: Processes, tmp_path: Path) -> None:
    """A generator without file descriptors records every request, and why it was not sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                time.sleep(2)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        run = f"{sys.executable} -m loadtest.run --host http://127.0.0.1:{server.server_port} --folder {tmp_path}"
        processes.start("run", ["sh", "-c", f"ulimit -n 40 && exec {run} --run tried --rate 50 --seconds 3"], ALONE)
        assert 0 == processes.wait("run"), processes.last_lines("run")
        server.shutdown()
    assert "" == processes.errors("run").read_text()
    sent = events(tmp_path, "request.sent")
    assert 150 == len(sent) == len({line["request_id"] for line in sent})
    errors = Counter(line["error"] for line in sent)
    assert {"TooManyOpenFiles", None} == set(errors)
    assert 50 < errors["TooManyOpenFiles"] < 150
