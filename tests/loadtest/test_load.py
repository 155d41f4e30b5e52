"""Load with Locust: by its own command as in any project, and as the stack starts it, against a real service."""

import csv
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import httpx2
import pytest

from loadtest.incidents import start_fault
from tests.compose import compose
from tests.emitted import Line, parse
from tests.load import locust, locust_web_ui
from tests.processes import Processes, free_port
from tests.services import Service
from tests.waiting import wait_for

PLAIN = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--users", "10"]


def plain_locust(
    processes: Processes, name: str, url: str, *options: str, enough: Callable[[str], object]
) -> tuple[str, str]:
    """Run `locust` as a user does, stop it when `enough` is true for its run, and return the output and the run."""
    processes.start(name, [*PLAIN, "--host", url, "--spawn-rate", "10", "--stop-timeout", "15", *options])

    def output() -> str:
        return processes.output(name).read_text() + processes.errors(name).read_text()

    (run,) = wait_for(lambda: re.findall(r"Run (\S+) started", output()), "the start of the run", 60)
    wait_for(lambda: enough(run), "enough requests", 60)
    assert 0 == processes.kill(name, signal.SIGTERM), output()
    return output(), run


def requests_of(loaded: Service, run: str) -> list[Line]:
    finished = [line for line in loaded.lines() if line.get("event") == "request.finished"]
    return [line for line in finished if line.get("request_id", "").startswith(f"{run}-")]


class PlainRun(NamedTuple):
    """A run with plain Locust: its output, its name, its record of requests, and the other files."""

    output: str
    run: str
    sent: list[Line]
    folder: Path


@pytest.fixture(scope="module")
def plain_run(loaded: Service, processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> PlainRun:
    """Make a run with a master, two workers, and every kind of file."""
    folder, port = tmp_path_factory.mktemp("plain"), str(free_port())
    record = folder / "sent.jsonl"
    files = ("--csv", str(folder / "load"), "--html", str(folder / "load.html"), "--record", str(record))
    ports = ("--master-bind-port", port, "--master-port", port)

    def enough(run: str) -> bool:
        sent = record.read_text() if record.exists() else ""
        return sent.count("\n") >= 40 and all(f'"{run}-{worker}-' in sent for worker in range(2))

    output, run = plain_locust(processes, "plain", loaded.url, "--processes", "2", *ports, *files, enough=enough)
    return PlainRun(output, run, parse(record.read_text()), folder)


def test_plain_locust_prints_what_locust_prints(loaded: Service, plain_run: PlainRun) -> None:
    """Locust prints its own log and tables, writes its CSV and HTML files, and starts no fault."""
    assert "Starting Locust" in plain_run.output
    assert "Response time percentiles" in plain_run.output
    assert not [text for text in plain_run.output.splitlines() if text.startswith("{")]
    with (plain_run.folder / "load_stats.csv").open() as file:
        rows = {row["Name"]: int(row["Request Count"]) for row in csv.DictReader(file)}
    assert len(rows) > 1
    assert sum(rows.values()) == 2 * rows["Aggregated"] == 2 * len(plain_run.sent) > 0
    assert "<html" in (plain_run.folder / "load.html").read_text()
    assert not [line for line in loaded.lines() if line.get("route") == "/faults" and line.get("method") == "POST"]


def test_all_workers_of_a_run_have_unique_ids(plain_run: PlainRun) -> None:
    """Request ids are `<run>-<worker>-<sequence>`, trace ids are UUIDv7, and each is unique."""
    run, sent = plain_run.run, plain_run.sent
    assert re.fullmatch(r"\d{8}T\d{6}[0-9a-f]{2}", run)
    assert {f"{run}-0", f"{run}-1"} == {line["request_id"].rpartition("-")[0] for line in sent}
    assert len(sent) == len({line["request_id"] for line in sent}) == len({line["trace_id"] for line in sent})
    assert all(re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", line["trace_id"]) for line in sent)


def test_recorded_requests_agree_with_the_service(loaded: Service, plain_run: PlainRun) -> None:
    """The record has one line per request, with the ids, route and status that the service logged."""
    logged = {line["trace_id"]: line for line in requests_of(loaded, plain_run.run)}
    assert logged.keys() == {line["trace_id"] for line in plain_run.sent}
    for line in plain_run.sent:
        same = logged[line["trace_id"]]
        assert all(line[key] == same[key] for key in ("request_id", "method", "route", "status"))
        assert line["error"] is None


def test_users_do_not_send_at_the_same_moment(plain_run: PlainRun) -> None:
    """Users who start together spread their requests over the second."""
    assert len({line["timestamp"][20:21] for line in plain_run.sent[-20:]}) > 1


def test_tags_choose_tasks(loaded: Service, processes: Processes) -> None:
    """`--tags` and `--exclude-tags` leave the tasks of Locust's own rules, and no user is without a task."""
    options = ("--tags", "browse", "buy", "--exclude-tags", "read")
    output, run = plain_locust(
        processes, "tags", loaded.url, *options, enough=lambda run: len(requests_of(loaded, run)) >= 10
    )
    assert "Traceback" not in output
    assert {("POST", "/orders")} == {(line["method"], line["route"]) for line in requests_of(loaded, run)}


def test_unknown_tag(loaded: Service, processes: Processes) -> None:
    """The error names the tags that there are."""
    processes.start("unknown-tag", [*PLAIN, "--host", loaded.url, "--tags", "brows"])
    assert 2 == processes.wait("unknown-tag")
    expected = "No task is left to run. Tags in this locustfile: browse, buy, read, report, write.\n"
    assert expected in processes.errors("unknown-tag").read_text()


def test_same_seed_same_choices(loaded: Service, processes: Processes, tmp_path: Path) -> None:
    """A single user makes the same requests in two runs with the same seed."""
    records = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for record in records:
        options = ("--stop-timeout", "15", "--seed", "7", "--record", str(record))
        processes.start(f"seed-{record.stem}", locust(loaded.url, 1, 1, *options))
    for record in records:
        wait_for(lambda file=record: file.exists() and file.read_text().count("\n") >= 3, "three requests", 60)  # type: ignore[misc]
        assert 0 == processes.kill(f"seed-{record.stem}", signal.SIGTERM)
    logged = {line["trace_id"]: line for line in loaded.lines() if line.get("event") == "request.finished"}
    choices = [
        [(line["method"], line["route"], line.get("user_id")) for line in _logged_lines(record, logged)]
        for record in records
    ]
    common = min(map(len, choices))
    assert choices[0][:common] == choices[1][:common]


def _logged_lines(record: Path, logged: dict[str, Line]) -> list[Line]:
    return [logged[line["trace_id"]] for line in parse(record.read_text())]


def test_record_cannot_be_written(loaded: Service, processes: Processes, tmp_path: Path) -> None:
    """The load continues, and the reason is logged once."""
    record = str(tmp_path / "nowhere" / "sent.jsonl")
    processes.start("lost", locust(loaded.url, 10, 10, "--stop-timeout", "15", "--record", record))
    started = Service("loadtest", "", processes.output("lost"), loaded.client).event("run.started")
    wait_for(lambda: len(requests_of(loaded, started["run"])) > 20, "more requests", 60)
    assert 0 == processes.kill("lost", signal.SIGTERM)

    lines = parse(processes.output("lost").read_text())
    assert 1 == len([line for line in lines if line["message"].startswith("Cannot record requests in ")])
    assert next(line for line in lines if line.get("event") == "run.stopped")["requests"] > 20


def test_the_web_ui_starts_and_stops_a_run(loaded: Service, processes: Processes) -> None:
    """The form of Locust works as in any project; incidents are off unless they are chosen."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    processes.start("web", locust_web_ui(port))
    processes.wait_until_ready("web", f"{url}/")
    httpx2.post(f"{url}/swarm", data={"user_count": "2", "spawn_rate": "2", "host": loaded.url}).raise_for_status()

    def stats() -> Line:
        found: Line = httpx2.get(f"{url}/stats/requests").json()
        return found

    wait_for(lambda: stats()["stats"][-1]["num_requests"] > 2, "some requests")
    httpx2.post(f"{url}/stop").raise_for_status()
    wait_for(lambda: stats()["state"] == "stopped", "the end of the run")
    page = httpx2.get(f"{url}/").text
    assert re.search(r'"incidents": {[^}]*"default_value": "off"', page)
    processes.stop("web")


def slowest_requests(url: str) -> list[str]:
    """Return the trace ids in Locust's table of the slowest requests."""
    (table,) = httpx2.get(f"{url}/stats/requests").json()["extended_stats"]
    return [re.findall("var-trace_id=([^&]+)", row["lines"])[0] for row in table["data"]]


def test_the_slowest_requests_are_those_of_the_run(loaded: Service, processes: Processes) -> None:
    """They stay after the run, until a new one starts or the statistics are reset."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"LOAD": "off", "LOAD_TARGET": loaded.url, "LOAD_PORT": str(port)}
    processes.start("slowest", [sys.executable, "-m", "loadtest"], settings)
    processes.wait_until_ready("slowest", f"{url}/")

    def runs() -> list[str]:
        lines = parse(processes.output("slowest").read_text())
        return [line["run"] for line in lines if line.get("event") == "run.started"]

    def run() -> set[str]:
        """Make a run, and return the trace ids of its requests."""
        earlier = len(runs())
        form = {"user_count": "5", "spawn_rate": "5", "host": loaded.url}
        httpx2.post(f"{url}/swarm", data=form).raise_for_status()
        (name,) = wait_for(lambda: runs()[earlier:], "the start of the run")
        wait_for(lambda: len(requests_of(loaded, name)) > 5, "some requests")
        httpx2.post(f"{url}/stop", timeout=30).raise_for_status()
        return {line["trace_id"] for line in requests_of(loaded, name)}

    assert run() >= set(slowest_requests(url)) > set()
    assert run() >= set(slowest_requests(url)) > set()
    httpx2.post(f"{url}/stats/reset").raise_for_status()
    wait_for(lambda: not slowest_requests(url), "the reset")
    processes.stop("slowest")


class WebPage(NamedTuple):
    """Requests to Locust's web UI, as a page in the user's browser can send them."""

    url: str

    def swarm(
        self, host: str, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """Start a run of one user."""
        data = {"user_count": "1", "spawn_rate": "1", "host": host, **(form or {})}
        return httpx2.post(f"{self.url}/swarm", data=data, headers=headers)

    def state(self) -> str:
        """Return the state of the run."""
        found: str = httpx2.get(f"{self.url}/stats/requests").json()["state"]
        return found


@pytest.fixture(scope="module")
def idle(loaded: Service, processes: Processes) -> Iterator[WebPage]:
    """Start Locust's web UI for the host of the service."""
    port = free_port()
    page = WebPage(f"http://127.0.0.1:{port}")
    processes.start("idle", locust_web_ui(port, "--host", loaded.url))
    processes.wait_until_ready("idle", f"{page.url}/")
    yield page
    processes.stop("idle")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "http://localhost.attacker.example"},
        {"Host": "attacker.example:8089"},
        {"Host": "attacker.example:8089", "Origin": "http://attacker.example:8089"},
    ],
    ids=["foreign origin", "sandboxed page", "malformed origin", "similar origin", "DNS rebinding", "its post"],
)
@pytest.mark.parametrize("path", ["/swarm", "/stop", "/stats/reset", "/user", "/stats/requests", "/"])
def test_other_web_pages_are_refused(loaded: Service, idle: WebPage, headers: dict[str, str], path: str) -> None:
    """No other page can change a run or read its results, also if its name resolves to this machine."""
    if path == "/swarm":
        response = idle.swarm(loaded.url, headers)
    else:
        response = httpx2.request(
            "GET" if path in {"/stats/requests", "/"} else "POST", idle.url + path, headers=headers
        )
    assert 403 == response.status_code
    assert response.text.startswith("Refused: ")
    assert "ready" == idle.state()


@pytest.mark.parametrize(
    ("host", "form", "reason"),
    [
        ("http://127.0.0.1:1", {}, "To load http://127.0.0.1:1, restart it with --host or --allow-any-host."),
        ("", {}, "This Locust only loads "),
        (None, {"record": "sent.jsonl"}, "Only the command line can set record."),
        (None, {"seed": "1", "run": "mine"}, "Only the command line can set run, seed."),
        (None, {"csv_prefix": "files"}, "Only the command line can set csv_prefix."),
        (None, {"allow_any_host": "true"}, "Only the command line can set allow_any_host."),
    ],
    ids=["other host", "no host", "record", "seed and run", "an option of Locust", "the option itself"],
)
def test_the_form_cannot_choose_hosts_and_files(
    loaded: Service, idle: WebPage, host: str | None, form: dict[str, str], reason: str
) -> None:
    """Hosts and files are chosen on the command line; the form shows the reason."""
    answer = idle.swarm(loaded.url if host is None else host, form=form).json()
    assert not answer["success"]
    assert reason in answer["message"]
    assert "ready" == idle.state()


@pytest.mark.parametrize(
    "setting", [{"host": "http://127.0.0.1:1"}, {"default_headers": {}}], ids=["host", "attribute"]
)
def test_the_editor_of_a_user_class_cannot_choose_hosts(idle: WebPage, setting: dict[str, object]) -> None:
    """A user class keeps its host, and attributes that the editor does not show."""
    answer = httpx2.post(f"{idle.url}/user", json={"user_class_name": "Browse", **setting})
    assert not answer.json()["success"]


@pytest.mark.parametrize(
    ("options", "host", "starts"),
    [
        ((), "http://127.0.0.1:1", True),
        ((), "http://attacker.example", False),
        (("--host", "http://127.0.0.1:2", "--allow-any-host"), "http://127.0.0.1:1", True),
    ],
    ids=["this machine", "not this machine", "--allow-any-host"],
)
def test_hosts_of_the_form(processes: Processes, options: tuple[str, ...], host: str, starts: bool) -> None:  # noqa: FBT001
    """Without --host the form may choose a service of this machine, and with --allow-any-host any."""
    port = free_port()
    page = WebPage(f"http://localhost:{port}")
    processes.start("form", locust_web_ui(port, *options, host="localhost"))
    processes.wait_until_ready("form", f"{page.url}/")
    assert starts == page.swarm(host, {"Origin": page.url}).json()["success"]
    processes.stop("form")


def test_the_stack_load_starts_automatically(loaded: Service, processes: Processes) -> None:
    """Locust counts what the service logged; all output is JSON, and the page stays after the run."""
    port = free_port()
    settings = {"LOAD_TARGET": loaded.url, "LOAD_PORT": str(port), "LOAD_RUN_TIME": "6s", "LOAD_USERS": "10"}
    processes.start("load", [sys.executable, "-m", "loadtest"], settings)
    processes.wait_until_ready("load", f"http://127.0.0.1:{port}/", 60)
    load = Service("loadtest", f"http://127.0.0.1:{port}", processes.output("load"), loaded.client)
    stopped = load.event("run.stopped")

    requests = requests_of(loaded, stopped["run"])
    assert (len(requests), 0) == (stopped["requests"], stopped["failures"])
    assert {"/users/{user_id}", "/orders"} <= {line["route"] for line in requests}
    assert load.event("run.started")["run"] == stopped["run"]
    assert {f"127.0.0.1:{port}"} == {line["instance"] for line in load.lines()}
    page = httpx2.get(load.url).text
    assert all(user in page for user in ("Browse", "Buy", "Report"))
    processes.stop("load")
    assert "" == processes.errors("load").read_text()


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


def test_workers_of_the_stack_load_share_a_run(loaded: Service, processes: Processes, tmp_path: Path) -> None:
    """No id is sent twice, and the master counts what the service logged, even if workers connect slowly."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_TO_CONNECT)
    port, between = free_port(), str(free_port())
    ports = {"LOCUST_MASTER_BIND_PORT": between, "LOCUST_MASTER_NODE_PORT": between}
    settings = {"LOAD_TARGET": loaded.url, "LOAD_PORT": str(port), "LOAD_RUN_TIME": "10m", "LOAD_USERS": "10"}
    processes.start("master", [sys.executable, "-m", "loadtest"], {**settings, **ports, "LOAD_WORKERS": "2"})
    workers = ["worker-1", "worker-2"]
    for worker in workers:
        environment = {**ports, "PYTHONPATH": str(tmp_path), "INSTANCE": worker}
        processes.start(worker, [sys.executable, "-m", "loadtest", "worker"], environment)
    processes.wait_until_ready("master", f"http://127.0.0.1:{port}/", 60)
    master = Service("loadtest", f"http://127.0.0.1:{port}", processes.output("master"), loaded.client)
    run = master.event("run.started")["run"]
    wait_for(lambda: set("01") <= {each["request_id"].split("-")[1] for each in requests_of(loaded, run)}, "both", 60)
    wait_for(lambda: len(requests_of(loaded, run)) > 30, "more requests than the slowest", 60)
    httpx2.post(f"{master.url}/stop", timeout=30).raise_for_status()
    stopped = master.event("run.stopped")
    slowest = slowest_requests(master.url)

    assert 20 == len(slowest)
    sent = {line["trace_id"]: line["request_id"] for line in requests_of(loaded, run)}
    assert {"0", "1"} == {sent[trace_id].split("-")[1] for trace_id in slowest}

    ids = [line["request_id"] for line in requests_of(loaded, run)]
    assert (len(ids), 0) == (stopped["requests"], stopped["failures"])
    assert len(ids) == len(set(ids))
    for worker in workers:
        assert {worker} == {line["instance"] for line in parse(processes.output(worker).read_text())}
    for process in (*workers, "master"):
        processes.stop(process)


def test_workers_return_after_a_restart_of_the_master(loaded: Service, processes: Processes) -> None:
    """Workers end with their master, and when both are started again, as docker-compose.yml does, a new run starts."""
    between = str(free_port())
    ports = {"LOCUST_MASTER_BIND_PORT": between, "LOCUST_MASTER_NODE_PORT": between}
    settings = {"LOAD_TARGET": loaded.url, "LOAD_PORT": str(free_port()), "LOAD_USERS": "2", "LOAD_WORKERS": "1"}

    def start_and_wait() -> None:
        started = len(runs())
        processes.start("restarted-master", [sys.executable, "-m", "loadtest"], {**settings, **ports})
        processes.start("restarted-worker", [sys.executable, "-m", "loadtest", "worker"], ports)
        wait_for(lambda: len(runs()) > started and requests_of(loaded, runs()[-1]), "requests of a run", 60)

    def runs() -> list[str]:
        lines = parse(processes.output("restarted-master").read_text())
        return [line["run"] for line in lines if line.get("event") == "run.started"]

    processes.output("restarted-master").touch()
    start_and_wait()
    processes.stop("restarted-master")
    assert 0 == processes.wait("restarted-worker")
    assert "unless-stopped" == compose()["services"]["loadtest"]["restart"]  # the worker extends it
    start_and_wait()
    processes.stop("restarted-worker")
    processes.stop("restarted-master")


# Python runs this first: `replicas.test` has the addresses in a file, like a name of several containers.
REPLICAS_TEST = """
import os
from pathlib import Path

import gevent.socket

getaddrinfo = gevent.socket.getaddrinfo

def several(host, *args, **options):
    addresses = Path(os.environ["REPLICAS"]).read_text().split() if host == "replicas.test" else [host]
    return [found for address in addresses for found in getaddrinfo(address, *args, **options)]

gevent.socket.getaddrinfo = several

from loadtest.user import ApiUser

ApiUser.connection_seconds = 1

from loadtest.locustfile import Browse, Buy, Report
"""


def test_new_replicas_get_requests(payments: Service, processes: Processes, tmp_path: Path) -> None:
    """Users who are already running send requests to a replica that is added, and to the others after one is gone."""
    addresses, file, port = tmp_path / "addresses", tmp_path / "locustfile.py", str(free_port())
    file.write_text(REPLICAS_TEST)

    def start(name: str, address: str) -> Service:
        processes.start(name, [sys.executable, "-m", "app", "payments"], {"HOST": address, "PORT": port})
        processes.wait_until_ready(name, f"http://{address}:{port}/readyz")
        return Service(name, "", processes.output(name), payments.client)

    def count(service: Service) -> int:
        return len([line for line in service.lines() if line.get("event") == "request.finished"])

    first = start("replica-1", "127.0.0.1")
    addresses.write_text("127.0.0.1")
    command = locust(f"http://replicas.test:{port}", 5, 5, "--locustfile", str(file), "--stop-timeout", "15")
    processes.start("users", command, {"REPLICAS": str(addresses)})
    wait_for(lambda: count(first) > 5, "requests to the first replica", 60)
    second = start("replica-2", "127.0.0.2")
    addresses.write_text("127.0.0.1 127.0.0.2")
    before = count(first)
    wait_for(lambda: count(second) > 5 and count(first) > before, "requests to both replicas", 60)

    addresses.write_text("127.0.0.2")
    processes.stop("replica-1")
    before = count(second)
    wait_for(lambda: count(second) > before + 20, "requests to the other replica", 60)
    processes.stop("users")
    processes.stop("replica-2")


def test_replicas_that_do_not_listen_yet_get_no_requests(loaded: Service, processes: Processes, tmp_path: Path) -> None:
    """No request fails while three of four replicas start: their addresses are known, but refuse connections."""
    addresses, file, record = tmp_path / "addresses", tmp_path / "locustfile.py", tmp_path / "record.jsonl"
    file.write_text(REPLICAS_TEST)
    addresses.write_text("127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4")
    url = f"http://replicas.test:{loaded.url.rpartition(':')[2]}"
    command = locust(url, 10, 10, "--locustfile", str(file), "--stop-timeout", "15", "--record", str(record))
    processes.start("users", command, {"REPLICAS": str(addresses)})
    wait_for(lambda: record.exists() and len(parse(record.read_text())) > 50, "requests", 60)
    processes.stop("users")
    # The service refuses the name in `Host`, but it has received every request.
    assert {400} == {line["status"] for line in parse(record.read_text())}


@pytest.fixture(scope="module")
def load_off(loaded: Service, processes: Processes) -> Iterator[str]:
    """Start the load of the stack with LOAD=off, on IPv6 if there is any; return its URL."""
    host, shown = ("::1", "[::1]") if _has_ipv6() else ("127.0.0.1", "127.0.0.1")
    url = f"http://{shown}:{free_port()}"
    settings = {"LOAD": "off", "LOAD_TARGET": loaded.url, "LOAD_HOST": host, "LOAD_PORT": url.rpartition(":")[2]}
    processes.start("off", [sys.executable, "-m", "loadtest"], settings)
    processes.wait_until_ready("off", f"{url}/")
    yield url
    processes.stop("off")


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_load_can_be_off(load_off: str) -> None:
    """With LOAD=off the web UI runs, and no run starts."""
    assert "ready" == httpx2.get(f"{load_off}/stats/requests").json()["state"]


def test_the_page_can_be_on_ipv6(load_off: str) -> None:
    """LOAD_HOST may be an IPv6 address."""
    if not load_off.startswith("http://[::1]:"):
        pytest.skip("there is no IPv6 here")
    assert 200 == httpx2.get(f"{load_off}/").status_code


def test_proxies_of_the_environment_are_ignored(loaded: Service, processes: Processes) -> None:
    """A proxy that does not reach the service breaks neither the load, nor incidents, nor metrics."""
    received = []

    class Prometheus(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            received.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), f"http://127.0.0.1:{free_port()}")
    fault = (
        "from loadtest.incidents import start_fault; print(start_fault({!r}, {{'fault': 'slow-query', 'seconds': 1}}))"
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Prometheus) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        metrics = {"PROMETHEUS_URL": f"http://127.0.0.1:{server.server_port}"}
        processes.start("proxied", locust(loaded.url, 5, 5, "--stop-timeout", "15"), {**proxies, **metrics})
        started = Service("loadtest", "", processes.output("proxied"), loaded.client).event("run.started")
        wait_for(lambda: requests_of(loaded, started["run"]), "requests", 60)
        assert 0 == processes.kill("proxied", signal.SIGTERM)
        server.shutdown()
    processes.start("fault", [sys.executable, "-c", fault.format(loaded.url)], proxies)
    assert 0 == processes.wait("fault")
    assert "None\n" == processes.output("fault").read_text()
    assert {"/api/v1/otlp/v1/metrics"} == set(received)


def test_reason_of_an_incident_that_cannot_start(loaded: Service, payments: Service) -> None:
    """The reason is a sentence: the service has no faults, or it does not answer."""
    assert start_fault(loaded.url, {"fault": "slow-query", "users": [1], "seconds": 1}) is None
    assert "FAULTS=on" in (start_fault(payments.url, {}) or "")
    assert "does not answer" in (start_fault(f"http://127.0.0.1:{free_port()}", {}) or "")


def test_invalid_settings() -> None:
    """The exit code is 2, and one line names every variable with an invalid value."""
    settings = {"LOAD": "maybe", "LOAD_USERS": "0", "LOAD_RUN_TIME": "long", "LOAD_TARGET": "nowhere"}
    code, error = refused(settings)

    assert 2 == code
    assert re.fullmatch(
        "; ".join(rf"{name}: [^;]+" for name in ("LOAD", "LOAD_TARGET", "LOAD_USERS", "LOAD_RUN_TIME")),
        error.rstrip("\n"),
    )
    assert 1 == error.count("\n")


def test_port_in_use() -> None:
    """The error is one sentence, instead of Locust's traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, error = refused({"LOAD_PORT": port})

    assert 2 == code
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use. Set LOAD_HOST or LOAD_PORT.\n" == error


def refused(settings: dict[str, str]) -> tuple[int, str]:
    command, env = [sys.executable, "-m", "loadtest"], {**os.environ, **settings}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - a command of this project
    return done.returncode, done.stderr
