"""The load, as it is started in compose: a real Locust against a real service."""

import os
import re
import socket
import subprocess
import sys
from operator import itemgetter
from pathlib import Path

import httpx2
import pytest

from loadtest.ids import RequestIds, new_run
from loadtest.lab import start_fault
from tests.emitted import parse
from tests.load import locust
from tests.processes import Processes, free_port
from tests.services import Service
from tests.waiting import eventually

VALID_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def test_ids_are_valid_and_carry_time_and_run() -> None:
    """`<run>-<worker>-<sequence>` in one header, a UUIDv7 in the other, and none twice."""
    ids = RequestIds(new_run(), worker=3)
    headers = [ids.headers() for _ in range(100)]

    assert re.fullmatch(r"\d{8}T\d{6}[0-9a-f]{2}", ids.run)
    assert [f"{ids.run}-3-{number}" for number in range(1, 101)] == [header["X-Request-ID"] for header in headers]
    assert all(re.fullmatch(VALID_ID, header["X-Request-ID"]) for header in headers)
    traces = {header["traceparent"].split("-")[1] for header in headers}
    assert 100 == len(traces)
    assert all(trace[12] == "7" for trace in traces)


def test_a_run_starts_by_itself_and_its_ids_are_in_the_lines(api: Service, processes: Processes) -> None:
    """What Locust says it sent is what the service says it answered; then it rests, and its page stays."""
    name, port = f"load-{api.name}", free_port()
    settings = {"LOAD_TARGET": api.url, "LOAD_PORT": str(port), "LOAD_RUN_TIME": "10s", "LOAD_USERS": "10"}
    processes.start(name, [sys.executable, "-m", "loadtest"], settings)
    processes.answers(name, f"http://127.0.0.1:{port}/")
    load = Service("loadtest", f"http://127.0.0.1:{port}", processes.output(name), api.client)
    stopped = load.event("run.stopped")

    answered = [
        line
        for line in api.lines()
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


def test_workers_make_the_requests_of_one_run(api: Service, processes: Processes) -> None:
    """No id is there twice, and what the one with the page counts is what the service answered."""
    name, port, ours = f"leads-{api.name}", free_port(), str(free_port())
    ports = {"LOCUST_MASTER_BIND_PORT": ours, "LOCUST_MASTER_NODE_PORT": ours}
    settings = {"LOAD_TARGET": api.url, "LOAD_PORT": str(port), "LOAD_RUN_TIME": "6s", "LOAD_USERS": "10"}
    processes.start(name, [sys.executable, "-m", "loadtest"], {**settings, **ports, "LOAD_WORKERS": "2"})
    workers = [f"{name}-worker-{number}" for number in range(2)]
    for worker in workers:
        processes.start(worker, [sys.executable, "-m", "loadtest", "worker"], ports)
    leading = Service("loadtest", f"http://127.0.0.1:{port}", processes.output(name), api.client)
    stopped = leading.event("run.stopped")

    finished = [line for line in api.lines() if line.get("event") == "request.finished"]
    ids = [line["request_id"] for line in finished if line.get("request_id", "").startswith(f"{stopped['run']}-")]
    assert (len(ids), 0) == (stopped["requests"], stopped["failures"])
    assert len(ids) == len(set(ids))
    assert {"0", "1"} == {any_id.split("-")[1] for any_id in ids}
    for process in (*workers, name):
        processes.stop(process)


def test_load_can_be_off(api: Service, processes: Processes) -> None:
    """LOAD=off: the page is there, and nothing runs."""
    name, port = f"off-{api.name}", free_port()
    processes.start(
        name, [sys.executable, "-m", "loadtest"], {"LOAD": "off", "LOAD_TARGET": api.url, "LOAD_PORT": str(port)}
    )
    processes.answers(name, f"http://127.0.0.1:{port}/")
    state = eventually(lambda: httpx2.get(f"http://127.0.0.1:{port}/stats/requests").json()["state"], "the state")
    processes.stop(name)

    assert "ready" == state


def test_the_page_can_be_on_ipv6(api: Service, processes: Processes) -> None:
    """LOAD_HOST may be such an address, too."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("there is no IPv6 here")
    name = f"ipv6-{api.name}"
    settings = {"LOAD": "off", "LOAD_TARGET": api.url, "LOAD_HOST": "::1", "LOAD_PORT": str(port)}
    processes.start(name, [sys.executable, "-m", "loadtest"], settings)
    processes.answers(name, f"http://[::1]:{port}/")
    processes.stop(name)


def test_incidents_are_asked_for_politely(api: Service, payments: Service) -> None:
    """The fault is there; where there is no lab, or nobody at all, the reason is a sentence."""
    assert start_fault(api.url, {"fault": "slow-query", "users": [1], "seconds": 1}) is None
    assert "FAULTS=off" in (start_fault(payments.url, {}) or "")
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
    """Exit code 2, and which variable it is."""
    code, said = refused({setting: value})

    assert 2 == code
    assert re.fullmatch(rf"{setting}: .*\n", said)


def test_a_port_in_use_is_one_sentence() -> None:
    """Locust would print a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = refused({"LOAD_PORT": port})

    assert 2 == code
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use. Set LOAD_HOST or LOAD_PORT.\n" == said


def refused(settings: dict[str, str]) -> tuple[int, str]:
    command, env = [sys.executable, "-m", "loadtest"], {**os.environ, **settings}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return done.returncode, done.stderr


def test_what_was_sent_is_recorded(api: Service, processes: Processes, tmp_path: Path) -> None:
    """A line for each request, with what the service says of it, and the same choices from the same seed."""
    chosen = []
    for number in (1, 2):
        record = tmp_path / f"{number}.jsonl"
        name = f"record-{number}-{api.name}"
        assert 0 == run_load(processes, name, api.url, "--seed", "7", "--record", str(record))
        sent = parse(record.read_text())
        said = {line["trace_id"]: line for line in api.lines() if line.get("event") == "request.finished"}
        assert len(sent) > 1
        for line in sent:
            line_of_api = said[line["trace_id"]]
            assert all(line[key] == line_of_api[key] for key in ("request_id", "method", "route", "status"))
            assert line["client_ms"] >= line_of_api["duration_ms"] - 1
            assert line["error"] is None
        # Each user's first; in which order they ask is a matter of milliseconds.
        first = [said[line["trace_id"]] for line in sorted(sent, key=itemgetter("timestamp"))[:10]]
        chosen.append(sorted((line["method"], line["route"], line.get("user_id", 0)) for line in first))
        assert 1 < len({line["timestamp"][20:21] for line in sent[-20:]})  # they do not all ask at once
    assert chosen[0] == chosen[1]


def test_a_record_that_cannot_be_written_is_told_of_once(api: Service, processes: Processes, tmp_path: Path) -> None:
    """The load goes on."""
    name = f"lost-{api.name}"
    assert 0 == run_load(processes, name, api.url, "--record", str(tmp_path / "nowhere" / "sent.jsonl"))

    lines = parse(processes.output(name).read_text())
    assert 1 == len([line for line in lines if line["message"].startswith("What is sent cannot be recorded: ")])
    assert next(line for line in lines if line.get("event") == "run.stopped")["requests"] > 1


def run_load(processes: Processes, name: str, url: str, *options: str) -> int:
    processes.start(name, locust(url, 10, 10, "--run-time", "4s", "--stop-timeout", "15", *options))
    return processes.wait(name)
