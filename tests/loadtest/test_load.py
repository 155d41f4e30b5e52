"""Load with Locust: by its own command as in any project, and as the stack starts it, against a real service."""

import csv
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from loadtest.incidents import start_fault
from tests.emitted import Line, parse
from tests.load import locust
from tests.processes import Processes, free_port
from tests.services import Service
from tests.waiting import eventually

PLAIN = ("--headless", "--users", "10", "--spawn-rate", "10", "--run-time", "10s", "--stop-timeout", "15")


def plain_locust(url: str, *options: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `locust` as a user does, with stdout and stderr in one."""
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--host", url, *PLAIN, *options]
    return subprocess.run(  # noqa: S603 - ours
        command, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


def master_ports() -> tuple[str, ...]:
    port = str(free_port())
    return "--master-bind-port", port, "--master-port", port


def run_of(output: str) -> str:
    (run,) = re.findall(r"Run (\S+) started", output)
    return str(run)


def requests_of(loaded: Service, run: str) -> list[Line]:
    finished = [line for line in loaded.lines() if line.get("event") == "request.finished"]
    return [line for line in finished if line.get("request_id", "").startswith(f"{run}-")]


def test_plain_locust_prints_what_locust_prints(loaded: Service, tmp_path: Path) -> None:
    """Its log, its tables, its CSV and HTML files; every request has an id of the run, and none starts a fault."""
    done = plain_locust(loaded.url, "--csv", str(tmp_path / "load"), "--html", str(tmp_path / "load.html"))
    assert 0 == done.returncode
    assert "Starting Locust" in done.stdout
    assert "Response time percentiles" in done.stdout
    assert not [text for text in done.stdout.splitlines() if text.startswith("{")]

    requests = requests_of(loaded, run_of(done.stdout))
    with (tmp_path / "load_stats.csv").open() as file:
        rows = {row["Name"]: int(row["Request Count"]) for row in csv.DictReader(file)}
    assert len(rows) > 1
    assert sum(rows.values()) == 2 * rows["Aggregated"] > 0
    assert len(requests) == int(re.findall(r"Aggregated +(\d+)", done.stdout)[-2])
    assert "<html" in (tmp_path / "load.html").read_text()
    assert not [line for line in loaded.lines() if line.get("route") == "/faults" and line.get("method") == "POST"]


@pytest.mark.parametrize(
    ("options", "routes"),
    [
        (("--tags", "browse"), {("GET", "/users/{user_id}"), ("GET", "/users")}),
        (("--exclude-tags", "read"), {("POST", "/orders")}),
    ],
)
def test_tags_choose_tasks(loaded: Service, options: tuple[str, ...], routes: set[tuple[str, str]]) -> None:
    """All users run one of the tasks that are left, and none fails."""
    done = plain_locust(loaded.url, *options)
    assert 0 == done.returncode
    assert "Traceback" not in done.stdout
    requests = requests_of(loaded, run_of(done.stdout))
    assert requests
    assert {(line["method"], line["route"]) for line in requests} <= routes


def test_a_tag_that_no_task_has(loaded: Service) -> None:
    """The error names the tags that there are."""
    done = plain_locust(loaded.url, "--tags", "brows")
    assert 2 == done.returncode
    assert "No task is left to run. Tags in this locustfile: browse, buy, read, report, write.\n" in done.stdout


def test_processes_share_a_run(loaded: Service, tmp_path: Path) -> None:
    """Request ids are `<run>-<worker>-<sequence>`, trace ids are UUIDv7, and each is unique."""
    record = tmp_path / "sent.jsonl"
    done = plain_locust(loaded.url, "--processes", "2", *master_ports(), "--record", str(record))
    assert 0 == done.returncode

    run, sent = run_of(done.stdout), parse(record.read_text())
    assert re.fullmatch(r"\d{8}T\d{6}[0-9a-f]{2}", run)
    assert {f"{run}-0", f"{run}-1"} == {line["request_id"].rpartition("-")[0] for line in sent}
    assert len(sent) == len({line["request_id"] for line in sent}) == len({line["trace_id"] for line in sent})
    assert all(re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", line["trace_id"]) for line in sent)
    assert {line["request_id"] for line in requests_of(loaded, run)} == {line["request_id"] for line in sent}


# Python runs this first: it makes a worker slow to finish its connection, while the master already starts the run.
SLOW_TO_CONNECT = """
import sys

if "--worker" in sys.orig_argv:
    import gevent
    from locust.runners import WorkerRunner

    connect = WorkerRunner.connect_to_master

    def slowly(self):
        connect(self)
        gevent.sleep(2)

    WorkerRunner.connect_to_master = slowly
"""


def test_workers_that_connect_slowly_have_their_own_numbers(
    loaded: Service, processes: Processes, tmp_path: Path
) -> None:
    """A master may start a run before its workers are ready; no id is sent twice."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_TO_CONNECT)
    port = str(free_port())
    workers = [f"slow-{loaded.name}-{number}" for number in range(2)]
    for worker in workers:
        command = ["-m", "locust", "-f", "loadtest/locustfile.py", "--worker", "--master-port", port]
        processes.start(worker, [sys.executable, *command], {"PYTHONPATH": str(tmp_path)})
    done = plain_locust(loaded.url, "--master", "--expect-workers", "2", "--run-time", "8s", "--master-bind-port", port)
    assert 0 == done.returncode
    for worker in workers:
        processes.wait(worker)

    ids = [line["request_id"] for line in requests_of(loaded, run_of(done.stdout))]
    assert len(ids) == len(set(ids))
    assert {"0", "1"} == {each.split("-")[1] for each in ids}


def test_the_web_ui_starts_and_stops_a_run(loaded: Service, processes: Processes) -> None:
    """As in any Locust project; incidents are off unless they are chosen."""
    name, port = f"web-{loaded.name}", free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["-m", "locust", "-f", "loadtest/locustfile.py", "--web-host", "127.0.0.1", "--web-port", str(port)]
    processes.start(name, [sys.executable, *command])
    processes.answers(name, f"{url}/")
    httpx2.post(f"{url}/swarm", data={"user_count": "2", "spawn_rate": "2", "host": loaded.url}).raise_for_status()

    def requests() -> int:
        return int(httpx2.get(f"{url}/stats/requests").json()["stats"][-1]["num_requests"])

    eventually(lambda: requests() > 2, "some requests")
    httpx2.post(f"{url}/stop").raise_for_status()
    eventually(lambda: httpx2.get(f"{url}/stats/requests").json()["state"] == "stopped", "the end of the run")
    page = httpx2.get(f"{url}/").text
    assert re.search(r'"incidents": {[^}]*"default_value": "off"', page)
    processes.stop(name)


def test_the_stack_load_starts_automatically(loaded: Service, processes: Processes) -> None:
    """What Locust counts is what the service logged; all output is JSON, and the page stays after the run."""
    name, port = f"load-{loaded.name}", free_port()
    settings = {"LOAD_TARGET": loaded.url, "LOAD_PORT": str(port), "LOAD_RUN_TIME": "10s", "LOAD_USERS": "10"}
    processes.start(name, [sys.executable, "-m", "loadtest"], settings)
    processes.answers(name, f"http://127.0.0.1:{port}/")
    load = Service("loadtest", f"http://127.0.0.1:{port}", processes.output(name), loaded.client)
    stopped = load.event("run.stopped")

    answered = [
        line
        for line in loaded.lines()
        if line.get("event") == "request.finished" and line.get("request_id", "").startswith(f"{stopped['run']}-")
    ]
    assert (len(answered), 0) == (stopped["requests"], stopped["failures"])
    assert {"/users/{user_id}", "/orders"} <= {line["route"] for line in answered}
    assert load.event("run.started")["run"] == stopped["run"]
    assert {f"127.0.0.1:{port}"} == {line["instance"] for line in load.lines()}
    page = httpx2.get(load.url).text
    assert all(user in page for user in ("Browse", "Buy", "Report"))
    processes.stop(name)
    assert "" == processes.errors(name).read_text()


def test_workers_of_the_stack_load_share_a_run(loaded: Service, processes: Processes) -> None:
    """No id is sent twice, and the master counts what the service logged."""
    name, port, ours = f"master-{loaded.name}", free_port(), str(free_port())
    ports = {"LOCUST_MASTER_BIND_PORT": ours, "LOCUST_MASTER_NODE_PORT": ours}
    settings = {"LOAD_TARGET": loaded.url, "LOAD_PORT": str(port), "LOAD_RUN_TIME": "6s", "LOAD_USERS": "10"}
    processes.start(name, [sys.executable, "-m", "loadtest"], {**settings, **ports, "LOAD_WORKERS": "2"})
    workers = [f"{name}-worker-{number}" for number in range(2)]
    for worker in workers:
        processes.start(worker, [sys.executable, "-m", "loadtest", "worker"], ports)
    master = Service("loadtest", f"http://127.0.0.1:{port}", processes.output(name), loaded.client)
    stopped = master.event("run.stopped")

    finished = [line for line in loaded.lines() if line.get("event") == "request.finished"]
    ids = [line["request_id"] for line in finished if line.get("request_id", "").startswith(f"{stopped['run']}-")]
    assert (len(ids), 0) == (stopped["requests"], stopped["failures"])
    assert len(ids) == len(set(ids))
    assert {"0", "1"} == {any_id.split("-")[1] for any_id in ids}
    for process in (*workers, name):
        processes.stop(process)


def test_load_can_be_off(loaded: Service, processes: Processes) -> None:
    """LOAD=off: the web UI runs without a run."""
    name, port = f"off-{loaded.name}", free_port()
    processes.start(
        name, [sys.executable, "-m", "loadtest"], {"LOAD": "off", "LOAD_TARGET": loaded.url, "LOAD_PORT": str(port)}
    )
    processes.answers(name, f"http://127.0.0.1:{port}/")
    state = eventually(lambda: httpx2.get(f"http://127.0.0.1:{port}/stats/requests").json()["state"], "the state")
    processes.stop(name)

    assert "ready" == state


def test_the_page_can_be_on_ipv6(loaded: Service, processes: Processes) -> None:
    """LOAD_HOST may be such an address, too."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("there is no IPv6 here")
    name = f"ipv6-{loaded.name}"
    settings = {"LOAD": "off", "LOAD_TARGET": loaded.url, "LOAD_HOST": "::1", "LOAD_PORT": str(port)}
    processes.start(name, [sys.executable, "-m", "loadtest"], settings)
    processes.answers(name, f"http://[::1]:{port}/")
    processes.stop(name)


def test_an_incident_that_cannot_start_has_a_reason(loaded: Service, payments: Service) -> None:
    """The reason is a sentence: the service has no faults, or it does not answer."""
    assert start_fault(loaded.url, {"fault": "slow-query", "users": [1], "seconds": 1}) is None
    assert "FAULTS=on" in (start_fault(payments.url, {}) or "")
    assert "does not answer" in (start_fault(f"http://127.0.0.1:{free_port()}", {}) or "")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("LOAD", "maybe"),
        ("LOAD_USERS", "0"),
        ("LOAD_RUN_TIME", "long"),
        ("LOAD_TARGET", "nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(setting: str, value: str) -> None:
    """Exit code 2, and a sentence that names the variable."""
    code, error = refused({setting: value})

    assert 2 == code
    assert re.fullmatch(rf"{setting}: .*\n", error)


def test_a_port_in_use_is_one_sentence() -> None:
    """Locust would print a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, error = refused({"LOAD_PORT": port})

    assert 2 == code
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use. Set LOAD_HOST or LOAD_PORT.\n" == error


def refused(settings: dict[str, str]) -> tuple[int, str]:
    command, env = [sys.executable, "-m", "loadtest"], {**os.environ, **settings}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return done.returncode, done.stderr


def test_requests_are_recorded(loaded: Service, processes: Processes, tmp_path: Path) -> None:
    """One line per request, which agrees with the service's; a single user repeats its choices with the same seed."""
    choices = []
    for number in (1, 2):
        record = tmp_path / f"{number}.jsonl"
        name = f"record-{number}-{loaded.name}"
        assert 0 == run_load(
            processes, name, loaded.url, 1, has_lines(record, 3), "--seed", "7", "--record", str(record)
        )
        sent = parse(record.read_text())
        lines = {line["trace_id"]: line for line in loaded.lines() if line.get("event") == "request.finished"}
        for line in sent:
            logged = lines[line["trace_id"]]
            assert all(line[key] == logged[key] for key in ("request_id", "method", "route", "status"))
            assert line["client_ms"] >= logged["duration_ms"] - 1
            assert line["error"] is None
        logged_of_run = [lines[line["trace_id"]] for line in sent]
        choices.append([(line["method"], line["route"], line.get("user_id")) for line in logged_of_run])
    common = min(len(each) for each in choices)
    assert choices[0][:common] == choices[1][:common]


def test_users_do_not_send_at_the_same_moment(loaded: Service, processes: Processes, tmp_path: Path) -> None:
    """Users who start together spread their requests over the second."""
    record = tmp_path / "sent.jsonl"
    assert 0 == run_load(
        processes, f"spread-{loaded.name}", loaded.url, 20, has_lines(record, 40), "--record", str(record)
    )
    tenths = {line["timestamp"][20:21] for line in parse(record.read_text())[-20:]}
    assert len(tenths) > 1


def test_a_record_that_cannot_be_written_is_logged_once(loaded: Service, processes: Processes, tmp_path: Path) -> None:
    """The load goes on."""
    name = f"lost-{loaded.name}"
    before = len(loaded.lines())

    def goes_on() -> bool:
        return "Cannot record" in processes.output(name).read_text() and len(loaded.lines()) > before + 10

    record = str(tmp_path / "nowhere" / "sent.jsonl")
    assert 0 == run_load(processes, name, loaded.url, 10, goes_on, "--record", record)

    lines = parse(processes.output(name).read_text())
    assert 1 == len([line for line in lines if line["message"].startswith("Cannot record requests in ")])
    assert next(line for line in lines if line.get("event") == "run.stopped")["requests"] > 1


def run_load(processes: Processes, name: str, url: str, users: int, until: Callable[[], bool], *options: str) -> int:
    """Run Locust until a condition holds, and return its exit code."""
    processes.start(name, locust(url, users, users, "--stop-timeout", "15", *options))
    eventually(until, "enough requests", 60)
    return processes.kill(name, signal.SIGTERM)


def has_lines(file: Path, number: int) -> Callable[[], bool]:
    return lambda: file.exists() and file.read_text().count("\n") >= number
