"""Hostile files and servers cost neither much memory nor time, and are reported in one sentence."""

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from tests.triage.conftest import RunCli
from tests.triage.fake_runs import fake_run
from tests.triage.fake_servers import FakeServer
from tests.triage.fake_service import RUN, T0, FakeService, sent
from triage import cli, endpoints
from triage.console import Console
from triage.errors import TriageError
from triage.stores.jsonl import JsonlStore
from triage.timelimit import limit_time, pause_limit
from triage.tour import guide, steps
from triage.tour.output import Output

MAX_MEMORY = 250 * 1024  # KiB
QUERY = "/loki/loki/api/v1/query_range"
THRESHOLDS = Path(__file__).parents[2] / "loadtest/thresholds.toml"
ENDLESS_HEAD = b"HTTP/1.1 200 OK\r\nX-Endless: "


def log_line() -> bytes:
    return json.dumps(FakeService().finish(T0, 5, trace_id="mine")).encode()


@pytest.mark.parametrize("field", ["timestamp", "route", "method", "status", "instance", "trace_id", "request_id"])
@pytest.mark.parametrize("value", [None, "infinity", "-infinity", 1e308, [], {"a": None}], ids=str)
def test_malformed_fields(run_cli: RunCli, tmp_path: Path, field: str, value: object) -> None:
    """A field with an unexpected value is never an internal error."""
    api = FakeService()
    for number in range(40):
        line = api.finish(T0 + number, 900 if number % 3 else 5, trace_id=f"t{number}", request_id=f"{RUN}-0-{number}")
        line |= {field: value} if number % 2 else {}
    load = [sent(T0 + number, number, trace_id=f"t{number}") for number in range(40)]
    load[7] |= {field: value}
    load[8] |= {"client_ms": "infinity"}
    api.line(T0 + 50, "Service stopped", event="service.stopped", totals={"/users": {"200": float("inf")}})
    api.scrape(T0 + 60)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [*api.lines, *load]))
    for words in (["trace", "t2"], ["explain", "--from", T0, "--to", T0 + 60], ["reconcile"]):
        code, out, err = run_cli(*words, "--jsonl", path)
        assert out, err
        assert code in ({0, 1} if words == ["reconcile"] else {0})


def truncated_bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(log_line() + b"\n" + bytes(300_000_000), 1)[:-100])


def bomb_of_lines(path: Path) -> None:
    path.write_bytes(gzip.compress((log_line() + b"\n") * 500_000, 1)[:-100])


def long_line(path: Path) -> None:
    path.write_bytes(b"\n".join([log_line(), b'{"timestamp":"' + b"x" * 100_000_000 + b'"}', log_line()]))


@pytest.mark.parametrize(
    ("write", "name"), [(truncated_bomb, "a.jsonl.gz"), (bomb_of_lines, "a.jsonl.gz"), (long_line, "a.jsonl")]
)
def test_memory(tmp_path: Path, write: object, name: str) -> None:
    """Files with endless lines and incomplete archives that become large need less than 250 MB."""
    path = tmp_path / name
    write(path)  # type: ignore[operator]
    script = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True);"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.stderr)"
    )
    command = [sys.executable, "-m", "triage", "trace", "unknown", "--jsonl", str(path)]
    found = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=True
    )
    code, memory, message = found.stdout.split(maxsplit=2)
    assert code == "2"
    assert message.startswith("No log lines for the id 'unknown': searched 1 file with ")
    assert message.count("\n") <= 2
    assert int(memory) < MAX_MEMORY


class SlowHandler(StreamRequestHandler):
    """Sends the server's prefix, and then one byte after the other for longer than any limit."""

    def handle(self) -> None:
        """Send until the client gives up, or until a test without a limit should fail."""
        server: SlowServer = self.server  # type: ignore[assignment]
        end = time.monotonic() + 20
        try:
            self.wfile.write(server.prefix)
            while time.monotonic() < end:
                time.sleep(server.pause)
                self.wfile.write(b"x")
        except OSError:
            return


class SlowServer(ThreadingTCPServer):
    """A server whose responses start with `prefix` and take very long."""

    daemon_threads, allow_reuse_address = True, True
    prefix, pause = b"", 0.02


@pytest.fixture
def slow_server() -> Iterator[SlowServer]:
    with SlowServer(("127.0.0.1", 0), SlowHandler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("prefix", "pause", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", 0.02, "its response is not complete after 0.5 s"),
        (ENDLESS_HEAD, 0.02, "This took longer than 2 s"),
        (b"", 20.0, "does not respond: timed out"),
        (ENDLESS_HEAD, 20.0, "does not respond: timed out"),
    ],
    ids=["body", "head", "no response", "unfinished response"],
)
def test_slow_servers(
    run_cli: RunCli,
    slow_server: SlowServer,
    monkeypatch: pytest.MonkeyPatch,
    prefix: bytes,
    pause: float,
    message: str,
) -> None:
    """A server whose response never begins or never ends is reported after the time limit."""
    slow_server.prefix, slow_server.pause = prefix, pause
    monkeypatch.setenv("LOKI_URL", f"http://127.0.0.1:{slow_server.server_address[1]}")
    monkeypatch.setattr(cli, "QUERY_TIMEOUT", 0.5)
    monkeypatch.setattr(cli, "TIME_LIMIT", 2.0)
    began = time.monotonic()
    code, out, err = run_cli("trace", "mine")
    assert (2, "") == (code, out)
    assert message in err
    assert err.count("\n") == 1
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("reached", ["query", "push"])
def test_a_verdict_with_a_slow_server(
    run_cli: RunCli, slow_server: SlowServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reached: str
) -> None:
    """The time limit includes the queries of a verdict, and the push to Loki, which is all if the clocks differ."""
    slow_server.prefix = ENDLESS_HEAD
    monkeypatch.setenv("LOKI_URL", f"http://127.0.0.1:{slow_server.server_address[1]}")
    monkeypatch.setattr(cli, "TIME_LIMIT", 2.0)
    run = fake_run()
    run.started["clock_offset_s"] = 60.0 if reached == "push" else 0.0
    folder = run.write(tmp_path)
    code, out, err = run_cli("verdict", "--runs", tmp_path, "--thresholds", THRESHOLDS)
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert err.startswith("This took longer than 2 s")
    assert (folder / "verdict.json").exists() == (reached == "push")


def test_a_verdict_on_a_huge_run(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The time limit includes reading the files of the run."""
    file = fake_run().write(tmp_path) / "sent-0.jsonl"
    file.write_bytes(file.read_bytes() * 200)
    monkeypatch.setattr(cli, "TIME_LIMIT", 0.1)
    code, out, err = run_cli("verdict", "--runs", tmp_path, "--thresholds", THRESHOLDS, "--no-stack")
    assert (2, "") == (code, out)
    assert err.startswith("This took longer than 0.1 s")


def test_waiting_does_not_count() -> None:
    """A limit can be paused, and applies again afterwards."""

    def wait_and_work() -> None:
        with pause_limit():
            time.sleep(1)
        time.sleep(5)

    began = time.monotonic()
    with pytest.raises(TriageError, match=r"This took longer than 0.5 s"), limit_time(0.5):
        wait_and_work()
    assert 1.4 < time.monotonic() - began < 5


@pytest.mark.parametrize(("part", "step"), [("API", "service"), ("LOKI", "Loki"), ("PROMETHEUS", "scrape")])
def test_the_tour_with_a_slow_server(
    run_cli: RunCli,
    server: FakeServer,
    slow_server: SlowServer,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    step: str,
) -> None:
    """Each check is limited: the step is reported as broken, after the checks of the steps before it."""
    slow_server.prefix = ENDLESS_HEAD
    for name, url in server.environment().items():
        monkeypatch.setenv(name, url)
    monkeypatch.setenv(f"{part}_URL", f"http://127.0.0.1:{slow_server.server_address[1]}")
    pages = ("/api/readyz", "/api/metrics", "/alloy/metrics", "/loki/ready")
    server.responses |= dict.fromkeys(pages, (200, "ok 1\n"))
    monkeypatch.setattr(steps, "QUERY_LIMIT", 0.5)
    monkeypatch.setattr(guide, "_ONCE_RESTART", 0.3)
    monkeypatch.setattr(guide, "_ONCE_PAUSE", 0.1)
    code, out, err = run_cli("tour", "--once")
    assert (1, "") == (code, err)
    assert f"Broken step: {step}\n" in out
    assert "The check of this step took longer than 0.5 s.\n" in out
    assert {"API": 0, "LOKI": 3, "PROMETHEUS": 4}[part] == len(set(server.gets))


def test_the_tour_with_a_slow_search(
    server: FakeServer, slow_server: SlowServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search for spikes is limited; that is printed once, and the checks of the steps go on."""
    slow_server.prefix = ENDLESS_HEAD
    slow = {"PROMETHEUS_URL": f"http://127.0.0.1:{slow_server.server_address[1]}"}
    found = endpoints.read_endpoints(overrides={**server.environment(), **slow})
    checks: list[float] = []

    def check(_: object, now: float) -> guide.Outcome:
        checks.append(now)
        return guide.Outcome(guide.NO_REQUESTS if len(checks) > 3 else guide.WORKING)

    monkeypatch.setattr(guide, "check", check)
    monkeypatch.setattr(steps, "QUERY_LIMIT", 0.3)
    guided = guide.Guide(found, Output(Console(sys.stdout), found), None, T0)
    for number in range(3):
        guided.check(T0 + 5 * number)
    message = "The search for spikes and lost lines took longer than 0.3 s: check Prometheus and Loki."
    assert 1 == capsys.readouterr().out.count(message)
    assert 3 == len(checks)


def test_slow_queries(tmp_path: Path) -> None:
    """A query of files is interrupted, too."""
    path = tmp_path / "a.jsonl"
    path.write_bytes((log_line() + b"\n") * 100_000)
    store = JsonlStore([path])

    def query() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            store.rates("api", 500)

    with pytest.raises(TriageError, match=r"This took longer than 1 s"), limit_time(1):
        query()


def test_server_that_ignores_the_time(run_cli: RunCli, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of another time are an error instead of an endless download."""
    monkeypatch.setenv("LOKI_URL", f"{server.url}/loki")
    monkeypatch.setattr(cli, "TIME_LIMIT", 10.0)  # another error if the download is endless
    values = [[str(number), log_line().decode()] for number in range(5_000)]
    server.responses[QUERY] = 200, json.dumps({"data": {"result": [{"stream": {}, "values": values}]}})
    code, out, err = run_cli("explain", "--from", T0, "--to", T0 + 60)
    assert (2, "") == (code, out)
    assert err.startswith(f"Loki at {server.url}/loki returned lines of another time")


def test_endless_body(server: FakeServer, monkeypatch: pytest.MonkeyPatch, run_cli: RunCli) -> None:
    """A response is read up to a limit."""
    monkeypatch.setenv("LOKI_URL", f"{server.url}/loki")
    server.responses[QUERY] = 200, " " * (33 << 20)
    code, _, err = run_cli("explain", "--from", T0, "--to", T0 + 60)
    assert code == 2
    assert "responded with more than 32 MiB: choose a shorter window." in err


@pytest.mark.parametrize(
    "url", ["http://someone:s3cret@127.0.0.1:1", "http://someone:s3cret@[", "//someone:s3cret@127.0.0.1", "a:s3cret@b"]
)
def test_credentials(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A name and password in the address of a server are never printed, whether it is valid or not."""
    monkeypatch.setenv("LOKI_URL", url)
    code, out, err = run_cli("trace", "mine")
    assert (2, "") == (code, out)
    assert "s3cret" not in err
    assert "127.0.0.1" in err or "LOKI_URL is invalid" in err


def test_credentials_are_sent(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sent in the header of the request."""
    monkeypatch.setenv("LOKI_URL", server.url.replace("//", "//someone:s3cret@"))
    server.responses["/ready"] = 200, "ok"
    client = endpoints.read_endpoints().loki
    assert client.text("/ready") == "ok"
    assert ["Basic c29tZW9uZTpzM2NyZXQ="] == server.authorizations
    assert client.url == server.url
