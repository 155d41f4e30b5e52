"""Processes that are forked from one that logs."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.emitted import parse
from tests.processes import Processes
from tests.servers.conftest import Start, run_to_end
from tests.servers.project.forking import FORKS
from tests.servers.test_servers import GUNICORN


def test_a_child_of_a_process_that_logs_can_log(project: Path, processes: Processes) -> None:
    """200 forks, while two threads write lines into a pipe: no child hangs, and no two have the same ids."""
    assert 0 == run_to_end(processes, "forking", ["sh", "-c", f"{sys.executable} forking.py | cat"], project)

    children = [line for line in parse(processes.output("forking").read_text()) if line["message"] == "Child"]
    assert FORKS == len(children)
    assert 2 * FORKS == len({number for line in children for number in line["ids"]})
    assert "" == processes.errors("forking").read_text()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(f"{GUNICORN} --preload --workers 4 --bind 127.0.0.1:{{port}} --no-control-socket", id="gunicorn"),
        pytest.param("uvicorn service:app --workers 4 --log-level error --port {port}", id="uvicorn"),
    ],
)
def test_ids_of_workers_are_never_the_same(start: Start, processes: Processes, command: str) -> None:
    """Each of 400 requests has its own trace id and span id, although several workers have served them."""
    new_connections = httpx2.Limits(max_keepalive_connections=0)  # so that every worker gets some of them
    with start(command) as service, httpx2.Client(limits=new_connections) as client, ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(client.get, [f"{service.url}/things/{number}" for number in range(400)]))
    lines = parse(service.output.read_text())
    finished = [line for line in lines if line.get("route") == "/things/{thing_id}"]

    assert 400 == len({response.headers["x-trace-id"] for response in responses})
    assert 400 == len(finished) == len({line["trace_id"] for line in finished})
    assert 400 == len({line["span_id"] for line in finished})
    assert len({line["pid"] for line in lines if line["message"] == "Thing fetched"}) > 1
    assert "" == processes.errors(service.name).read_text()


def test_a_process_pool_has_no_ids_of_the_request_that_started_it(start: Start, processes: Processes) -> None:
    """Its workers are forked by the first request and serve all others; a job gets its ids with `inject()`."""
    with start("uvicorn pools:app --port {port}") as service:
        responses = [httpx2.get(f"{service.url}/things/{number}") for number in range(3)]
    lines = parse(service.output.read_text())

    assert 1 == len({response.text for response in responses})
    assert ["-"] * 3 == [line["trace_id"] for line in lines if line["message"] == "Packing"]
    packed = [line["trace_id"] for line in lines if line["message"] == "Packed"]
    assert [response.headers["x-trace-id"] for response in responses] == packed
    assert "" == processes.errors(service.name).read_text()
