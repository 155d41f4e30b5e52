"""The output and decisions of the tour; tests/stack/test_tour.py runs it against real servers."""

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import short_folder
from tests.triage.conftest import RunCli
from tests.triage.fake_servers import FakeServer
from tests.triage.test_console import HOSTILE
from triage.console import Console
from triage.endpoints import Endpoints, read_endpoints
from triage.errors import StoreError
from triage.models import Exemplar, LogLine
from triage.spikes import Spike
from triage.stores.client import HttpClient
from triage.stores.prometheus import LabelledExemplar
from triage.tour import guide
from triage.tour.checkout import unreadable_files
from triage.tour.guide import NO_REQUESTS, WORKING, Guide, Outcome
from triage.tour.output import Output, SlowRequest
from triage.tour.steps import FIXES, AlloyFailures, BrokenStepError, NoRequestsError, Step, StepChecker, Success

T0 = 1_795_571_578.0
EXEMPLAR = Exemplar("01a2", "5a", 2.0, T0)
LABELLED = LabelledExemplar(EXEMPLAR, {"method": "GET", "route": "/users", "status": "200"})
SUCCESS = Success(LABELLED, [LogLine(T0, {"message": "Hello"})])
SLOW_REQUEST = SlowRequest(Spike(T0, T0 + 200, 3, 30), LABELLED, SUCCESS.lines)
FAILURES = 'prometheus_sd_refresh_failures_total{component_id="discovery.docker.ours"} %d\n'
SENT = 'loki_write_request_duration_seconds_count{status_code="%s"} %d\n'


@pytest.fixture
def endpoints(server: FakeServer) -> Iterator[Endpoints]:
    found = read_endpoints(overrides=server.environment())
    with ExitStack() as stack:
        for client in (found.api, found.prometheus, found.loki, found.alloy, found.grafana):
            stack.enter_context(client)
        yield found


def make_output(endpoints: Endpoints) -> tuple[Output, io.StringIO]:
    printed = io.StringIO()
    return Output(Console(printed), endpoints), printed


def _unreadable_as_other_user(folder: Path) -> Sequence[Path]:
    os.setreuid(65534, 0)  # access is checked for the real user
    try:
        return unreadable_files(folder)
    finally:
        os.setreuid(0, 0)


def test_unreadable_files_of_a_checkout(endpoints: Endpoints) -> None:
    """Files that other users cannot read are named, with the command that makes them readable."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    folder = short_folder()
    for name, mode in (("loki/loki.yml", 0o600), ("loki/readable.yml", 0o644), ("alloy/start.sh", 0o600)):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.chmod(mode)
    (folder / "loki/rules").mkdir(mode=0o700)
    output, printed = make_output(endpoints)
    output.unreadable(_unreadable_as_other_user(folder))
    text = " ".join(printed.getvalue().split())
    assert "containers cannot read alloy/start.sh and 2 more. The checkout was made with a strict umask." in text
    assert "chmod -R a+rX alloy loki docker compose up" in text
    subprocess.run(["chmod", "-R", "a+rX", folder / "alloy", folder / "loki"], check=True)  # noqa: S603, S607
    assert [] == _unreadable_as_other_user(folder)
    shutil.rmtree(folder)


def test_changes_are_printed_once(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broken step is printed once, with its fix, if it lasts; so is that it works again. The health file follows."""
    alloy = Outcome(Step.ALLOY, broken=BrokenStepError(Step.ALLOY, "Alloy does not respond"))
    working, idle, unknown = Outcome(WORKING, success=SUCCESS), Outcome(NO_REQUESTS), Outcome(None)
    output, printed = make_output(endpoints)
    healthy = tmp_path / "healthy"
    guided, now = Guide(endpoints, output, healthy, T0), T0

    def after(outcome: Outcome, times: int) -> str:
        """Return what is printed if that many checks have an outcome."""
        nonlocal now
        monkeypatch.setattr(guide, "check", lambda *_: outcome)
        before = len(printed.getvalue())
        for _ in range(times):
            now += 5
            guided.check(now)
        return printed.getvalue()[before:]

    assert 1 == after(alloy, 5).count("Still starting: Alloy does not respond.")
    assert not healthy.exists()
    works = "Every step works: Prometheus has a request that took 2.00 s, and its log line is in Loki."
    assert 1 == after(working, 5).count(works)
    assert healthy.exists()
    assert "" == after(alloy, 1) + after(working, 1) + after(unknown, 3)
    healthy.unlink()
    broken = after(alloy, 10)
    assert 1 == broken.count("Broken step: Alloy\n")
    assert all(fix in broken for fix in FIXES[Step.ALLOY])
    assert not healthy.exists()
    assert 1 == after(working, 5).count("Every step works again")
    assert 1 == after(idle, 20).count("There are no requests: start a run at http://localhost:8089.")


def test_lost_lines_are_printed_once(endpoints: Endpoints, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A low ratio of stored lines is printed when it appears, and when it appears again."""
    monkeypatch.setattr(guide, "check", lambda *_: Outcome(WORKING, success=SUCCESS))
    server.responses["/prometheus/api/v1/query_range"] = 200, json.dumps({"data": {"result": []}})
    output, printed = make_output(endpoints)
    guided = Guide(endpoints, output, None, T0)
    lost = [{"metric": {"job": "api"}, "value": [T0, "0.885"]}]
    for result in (lost, lost, [], lost):
        server.responses["/prometheus/api/v1/query"] = 200, json.dumps({"data": {"result": result}})
        guided.check(T0)

    expected = "Log lines are lost: Loki has 88.5% of what api wrote in the last ten minutes."
    assert 2 == printed.getvalue().count(expected)
    assert "/prometheus/api/v1/query?query=job:log_lines_stored:ratio10m < 0.99" in server.gets


@pytest.mark.parametrize(
    ("pages", "others", "step"),
    [
        ([SENT % (204, 5), SENT % (204, 9)], False, Step.STDOUT),
        ([SENT % (204, 5) + SENT % (429, 0), SENT % (204, 5) + SENT % (429, 3)], False, Step.LOKI),
        ([SENT % (204, 5), SENT % (204, 9)], True, Step.ALLOY),
    ],
)
def test_which_step_lost_lines(
    endpoints: Endpoints,
    server: FakeServer,
    pages: list[str],
    others: bool,  # noqa: FBT001
    step: Step,
) -> None:
    """Loki, if it rejects requests; Alloy, if other lines arrive; else the service's stdout is not read."""
    alloy = AlloyFailures(endpoints.alloy)
    for later, page in enumerate(pages, start=1):
        server.responses["/alloy/metrics"] = 200, page
        alloy.check(T0 + later)

    assert step == alloy.explain_missing_lines(EXEMPLAR, T0 + 31, others_arrived=others).step


def test_docker_does_not_respond(endpoints: Endpoints, server: FakeServer) -> None:
    """A recent increase of Alloy's discovery failures is a broken step; older failures are not."""
    alloy = AlloyFailures(endpoints.alloy)
    for failures, later in ((7, 0), (7, 5)):
        server.responses["/alloy/metrics"] = 200, FAILURES % failures
        alloy.check(T0 + later)
    server.responses["/alloy/metrics"] = 200, FAILURES % 8
    with pytest.raises(BrokenStepError) as broken:
        alloy.check(T0 + 10)

    assert Step.PROXY == broken.value.step
    alloy.check(T0 + 60)


def test_invalid_ids_are_not_queried(endpoints: Endpoints, server: FakeServer) -> None:
    """A trace id from a server that is not valid never becomes part of a query."""
    line = 'http_request_duration_seconds_bucket{le="0.5"} 1 # {trace_id="x\\"} or {a=~\\".+",span_id="5a"} 0.1 %f\n'
    targets = {"data": {"activeTargets": [{"labels": {"job": "api"}, "health": "up", "lastError": ""}]}}
    server.responses |= {
        "/api/readyz": (200, ""),
        "/api/metrics": (200, line % T0),
        "/alloy/metrics": (200, ""),
        "/loki/ready": (200, "ready"),
        "/prometheus/api/v1/targets": (200, json.dumps(targets)),
        "/grafana/api/datasources/uid/prometheus/health": (200, "{}"),
        "/grafana/api/datasources/uid/loki/health": (200, "{}"),
    }
    with pytest.raises(NoRequestsError):
        StepChecker(endpoints).check(T0)

    assert not [path for path in server.gets if "or {a" in path]


def test_hostile_text(endpoints: Endpoints) -> None:
    """No text of a line, a label or a server can control the terminal."""
    output, printed = make_output(endpoints)
    for hostile in HOSTILE:
        exemplar = LabelledExemplar(EXEMPLAR, {"method": hostile, "route": hostile, "status": hostile})
        lines = [LogLine(T0, {"service": hostile, "level": hostile, "message": hostile, "status": hostile})]
        output.spike(SlowRequest(Spike(T0, T0 + 9, 3, 30), exemplar, lines), T0)
        output.broken(BrokenStepError(Step.SCRAPE, hostile), T0)
        output.lost_lines(hostile, 0.5, T0)
        output.explained(hostile, T0)

    assert printed.getvalue().replace("\n", "").isprintable()


def test_readme(endpoints: Endpoints) -> None:
    """The README shows the output of the tour, apart from what differs between runs."""
    output, printed = make_output(endpoints)
    output.welcome()
    output.spike(SLOW_REQUEST, T0)
    differs = re.compile(r"\d\d:|from=|01a2|One of them")
    always = [line for line in printed.getvalue().splitlines() if line and not differs.search(line)]
    readme = (Path(__file__).parents[2] / "README.md").read_text()

    shown = [line.removeprefix("tour-1  | ") for line in readme.splitlines() if line.startswith("tour-1")]
    assert [] == [line for line in always if line not in shown]


def test_links(endpoints: Endpoints) -> None:
    """The link to a spike has a margin of a minute on both sides, and the link to a request is around its end."""
    output, printed = make_output(endpoints)
    output.spike(SLOW_REQUEST, T0)

    assert "http://localhost:3000/d/service?from=1795571518000&to=1795571838000\n" in printed.getvalue()
    assert "/d/trace-logs?var-trace_id=01a2&time=1795571578000&time.window=600000\n" in printed.getvalue()
    assert "3 of 30 requests took longer than 500 ms" in printed.getvalue()


def test_errors_of_servers(server: FakeServer) -> None:
    """They are one sentence with the server's name, its address and its own message."""
    server.responses |= {"/no": (503, '{"message": "not\\n yet"}'), "/text": (200, "<html>"), "/other": (200, "[]")}
    with HttpClient("Loki", server.url) as loki, HttpClient("Loki", "http://127.0.0.1:1") as stopped:
        with pytest.raises(StoreError, match=f"^Loki at {server.url} responded with 503: not yet$"):
            loki.json("/no")
        with pytest.raises(StoreError, match=f"^Loki at {server.url} did not respond with JSON: <html>$"):
            loki.json("/text")
        with pytest.raises(StoreError, match=f"^The server at {server.url} is not Loki"), loki.parsing():
            assert loki.json("/other")["data"]
        with pytest.raises(StoreError, match=r"^Loki at http://127.0.0.1:1 does not respond: Connection refused$"):
            stopped.json("/")


def test_proxies_of_the_environment_are_ignored(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers are local, and a proxy does not reach them."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    server.responses["/ready"] = 200, "ready"
    with HttpClient("Loki", server.url) as loki:
        assert "ready" == loki.text("/ready")


@pytest.mark.parametrize(
    ("variable", "value"), [("LOKI_URL", "loki:3100"), ("API_URL", "\x1b[31m"), ("GRAFANA_PORT", "99999")]
)
def test_invalid_addresses(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The error is one sentence with the name of the variable, and exit code 2."""
    monkeypatch.setenv(variable, value)
    code, out, err = run_cli("tour", "--once")

    assert (2, "", 1) == (code, out, err.count("\n"))
    assert err.startswith(f"{variable} is ")
    assert err[:-1].isprintable()
