"""The tour's words, and decisions that no real server can be brought to; those are in tests/stack/test_tour.py."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.triage.answering import Answering
from tests.triage.conftest import Typed
from tests.triage.test_harmless import NASTY
from triage.model import Exemplar, Line
from triage.screen import Screen
from triage.spike import Spike
from triage.stores import StoreError
from triage.stores._http import Server
from triage.stores._promql import Named
from triage.tour import guide
from triage.tour.guide import RESTING, WHOLE, Guide, Outcome
from triage.tour.hops import MENDS, BrokenError, Hop, RestingError
from triage.tour.places import Places, places
from triage.tour.reading import Reading
from triage.tour.say import Voice
from triage.tour.spikes import Found
from triage.tour.walk import Walk, Walked

T0 = 1_795_571_578.0
DOT = Exemplar("01a2", "5a", 2.0, T0)
WALKED = Walked(Named(DOT, {"method": "GET", "route": "/users", "status": "200"}), [Line(T0, {"message": "Hello"})])
FAILURES = 'prometheus_sd_refresh_failures_total{component_id="discovery.docker.ours"} %d\n'
SENT = 'loki_write_request_duration_seconds_count{status_code="%s"} %d\n'


@pytest.fixture
def at(servers: Answering) -> Iterator[Places]:
    found = places(servers.environment())
    with ExitStack() as stack:
        for server in (found.api, found.prometheus, found.loki, found.alloy, found.grafana):
            stack.enter_context(server)
        yield found


def voice(at: Places) -> tuple[Voice, io.StringIO]:
    said = io.StringIO()
    return Voice(Screen(said), at), said


def test_each_thing_is_said_once(at: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hiccup is not said, a broken hop once with its mend, and that it works again; a health check can tell."""
    alloy = Outcome(Hop.ALLOY, broken=BrokenError(Hop.ALLOY, "Alloy does not answer"))
    whole, rests, waits = Outcome(WHOLE, walked=WALKED), Outcome(RESTING), Outcome(None)
    voice_, said = voice(at)
    healthy = tmp_path / "whole"
    guided, now = Guide(at, voice_, healthy, T0), T0

    def looks(outcome: Outcome, times: int) -> str:
        nonlocal now
        monkeypatch.setattr(guide, "look", lambda *_: outcome)
        before = len(said.getvalue())
        for _ in range(times):
            now += 5
            guided.look(now)
        return said.getvalue()[before:]

    assert 1 == looks(alloy, 5).count("Still starting: Alloy does not answer.")
    assert not healthy.exists()
    assert 1 == looks(whole, 5).count("The walk works: Prometheus names a request of 2.00 s, and its line is in Loki.")
    assert healthy.exists()
    assert "" == looks(alloy, 1) + looks(whole, 1) + looks(waits, 3)
    healthy.unlink()
    broken = looks(alloy, 10)
    assert 1 == broken.count("The walk breaks here: Alloy\n")
    assert all(mend in broken for mend in MENDS[Hop.ALLOY])
    assert not healthy.exists()
    assert 1 == looks(whole, 5).count("The walk works again")
    assert 1 == looks(rests, 20).count("Nobody makes requests: start a run at http://localhost:8089.")


def test_lost_lines_are_said_once(at: Places, servers: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the recorded ratio says so, and again after it was well."""
    monkeypatch.setattr(guide, "look", lambda *_: Outcome(WHOLE, walked=WALKED))
    servers.answers["/prometheus/api/v1/query_range"] = 200, json.dumps({"data": {"result": []}})
    voice_, said = voice(at)
    guided = Guide(at, voice_, None, T0)
    lost = [{"metric": {"job": "api"}, "value": [T0, "0.885"]}]
    for result in (lost, lost, [], lost):
        servers.answers["/prometheus/api/v1/query"] = 200, json.dumps({"data": {"result": result}})
        guided.look(T0)

    assert 2 == said.getvalue().count("Lines are lost: of those that api wrote in ten minutes, 88.5% are stored.")
    assert "/prometheus/api/v1/query?query=job:log_lines_stored:ratio10m < 0.99" in servers.asked


@pytest.mark.parametrize(
    ("pages", "others", "hop"),
    [
        ([SENT % (204, 5), SENT % (204, 9)], False, Hop.STDOUT),
        ([SENT % (204, 5) + SENT % (429, 0), SENT % (204, 5) + SENT % (429, 3)], False, Hop.LOKI),
        ([SENT % (204, 5), SENT % (204, 9)], True, Hop.ALLOY),
    ],
)
def test_who_lost_the_lines(at: Places, servers: Answering, pages: list[str], others: bool, hop: Hop) -> None:  # noqa: FBT001
    """Loki, if it refuses; Alloy, if it brought others; else nobody read them."""
    reading = Reading(at.alloy)
    for later, page in enumerate(pages, start=1):
        servers.answers["/alloy/metrics"] = 200, page
        reading.look(T0 + later)

    assert hop == reading.blame(DOT, T0 + 31, others=others).hop


def test_an_engine_that_does_not_answer(at: Places, servers: Answering) -> None:
    """Alloy counts it, and calls itself healthy; that it failed once before is no trouble now."""
    reading = Reading(at.alloy)
    for failures, later in ((7, 0), (7, 5)):
        servers.answers["/alloy/metrics"] = 200, FAILURES % failures
        reading.look(T0 + later)
    servers.answers["/alloy/metrics"] = 200, FAILURES % 8
    with pytest.raises(BrokenError) as broken:
        reading.look(T0 + 10)

    assert Hop.PROXY == broken.value.hop
    reading.look(T0 + 60)


def test_an_id_that_is_none_is_never_asked_for(at: Places, servers: Answering) -> None:
    """Whatever a server names, no query is made of it, and the walk has nothing to go along."""
    line = 'http_request_duration_seconds_bucket{le="0.5"} 1 # {trace_id="x\\"} or {a=~\\".+",span_id="5a"} 0.1 %f\n'
    well = {"data": {"activeTargets": [{"labels": {"job": "api"}, "health": "up", "lastError": ""}]}}
    servers.answers |= {
        "/api/readyz": (200, ""),
        "/api/metrics": (200, line % T0),
        "/alloy/metrics": (200, ""),
        "/loki/ready": (200, "ready"),
        "/prometheus/api/v1/targets": (200, json.dumps(well)),
        "/grafana/api/datasources/uid/prometheus/health": (200, "{}"),
        "/grafana/api/datasources/uid/loki/health": (200, "{}"),
    }
    with pytest.raises(RestingError):
        Walk(at).step(T0)

    assert not [asked for asked in servers.asked if "or {a" in asked]


@pytest.mark.parametrize("nasty", NASTY)
def test_nothing_acts_on_the_terminal(at: Places, nasty: str) -> None:
    """Not in a line, a label, or what a server says."""
    voice_, said = voice(at)
    dot = Named(DOT, {"method": nasty, "route": nasty, "status": nasty})
    lines = [Line(T0, {"service": nasty, "level": nasty, "message": nasty, "status": nasty})]
    voice_.story(Found(Spike(T0, T0 + 9, 3, 30), dot, lines), T0)
    voice_.broken(BrokenError(Hop.SCRAPE, nasty), T0)
    voice_.lost(nasty, 0.5, T0)

    assert said.getvalue().replace("\n", "").isprintable()


def test_the_readme_shows_it(at: Places) -> None:
    """All that is the same in every run stands there as it is printed, in the terminal of docker compose."""
    voice_, said = voice(at)
    voice_.welcome()
    voice_.story(Found(Spike(T0, T0 + 200, 3, 30), WALKED.dot, WALKED.lines), T0)
    differs = re.compile(r"\d\d:|from=|01a2|One of them")
    always = [line for line in said.getvalue().splitlines() if line and not differs.search(line)]
    readme = (Path(__file__).parents[2] / "README.md").read_text()

    shown = [line.removeprefix("tour-1  | ") for line in readme.splitlines() if line.startswith("tour-1")]
    assert [] == [line for line in always if line not in shown]


def test_a_spike_is_pinned(at: Places) -> None:
    """Its link has a minute on both sides, in milliseconds; the request's link has the moment it ended."""
    voice_, said = voice(at)
    voice_.story(Found(Spike(T0, T0 + 200, 3, 30), WALKED.dot, WALKED.lines), T0)

    assert "http://localhost:3000/d/service?from=1795571518000&to=1795571838000\n" in said.getvalue()
    assert "/d/trace-logs?var-trace_id=01a2&time=1795571578000&time.window=600000\n" in said.getvalue()
    assert "3 of 30 requests took longer than 500 ms" in said.getvalue()


def test_what_is_said_of_a_server(servers: Answering) -> None:
    """One sentence with its name, its address and its own words, whatever is wrong."""
    servers.answers |= {"/no": (503, '{"message": "not\\n yet"}'), "/text": (200, "<html>"), "/other": (200, "[]")}
    with Server("Loki", servers.url) as loki, Server("Loki", "http://127.0.0.1:1") as nobody:
        with pytest.raises(StoreError, match=f"^Loki at {servers.url} refuses with 503: not yet$"):
            loki.json("/no")
        with pytest.raises(StoreError, match=f"^Loki at {servers.url} answers no JSON: <html>$"):
            loki.json("/text")
        with pytest.raises(StoreError, match=f"^What answers at {servers.url} is not Loki"), loki.understood():
            assert loki.json("/other")["data"]
        with pytest.raises(StoreError, match=r"^Loki at http://127.0.0.1:1 does not answer: Connection refused$"):
            nobody.json("/")


@pytest.mark.parametrize(
    ("variable", "value"), [("LOKI_URL", "loki:3100"), ("API_URL", "\x1b[31m"), ("GRAFANA_PORT", "99999")]
)
def test_a_wrong_place(typed: Typed, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """One sentence names the variable, and exit code 2."""
    monkeypatch.setenv(variable, value)
    code, out, err = typed("tour", "--once")

    assert (2, "", 1) == (code, out, err.count("\n"))
    assert err.startswith(f"{variable} is ")
    assert err[:-1].isprintable()
