"""The tour against real servers: it walks, and whichever hop is broken, it names that one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.app.lab import LAB
from tests.load import locust
from tests.processes import Processes
from tests.stack.native import ROOT, NativeStack
from tests.waiting import eventually
from triage.tour import spikes
from triage.tour.hops import Hop
from triage.tour.places import Places, places

UP = os.environ.get("STACK") == "up"
GRAFANA = "GRAFANA_HOME" in os.environ
NO_GRAFANA = "Grafana is in no registry: GRAFANA_HOME names no built one"
COMMAND = [sys.executable, "-m", "triage", "tour"]

natively = pytest.mark.skipif(UP, reason="STACK=up: the hops of docker compose are broken instead")

Broken = Callable[[NativeStack], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def native() -> Iterator[NativeStack]:
    """Return a stack of its own, which is broken and mended, and has no load yet."""
    with NativeStack() as stack:
        stack.start()
        yield stack


@pytest.fixture(scope="module")
def loaded(native: NativeStack) -> Iterator[NativeStack]:
    """Return the same with 20 requests a second."""
    native.servers.start("load", locust(native.url("api"), 20, 20))
    yield native
    # First, so that no service waits for its last requests.
    native.servers.kill("load")


def once(**environment: str) -> tuple[int, str]:
    """Walk once; return the exit code and all that was said."""
    command = [*COMMAND, "--once"]
    done = subprocess.run(  # noqa: S603
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def named(hop: Hop, said: tuple[int, str]) -> None:
    assert (1, hop.value) == (said[0], said[1].partition("The walk breaks here: ")[2].split("\n")[0]), said[1]


@natively
def test_without_requests_it_cannot_tell(native: NativeStack) -> None:
    """Nothing is broken then, unless there is no Grafana; it says where load is made."""
    said = once(**native.environment())

    if GRAFANA:
        assert 2 == said[0]
        assert "start a run at http://localhost:8089" in said[1]
    else:
        named(Hop.SOURCE, said)


@natively
def test_it_walks(loaded: NativeStack) -> None:
    """From a dot to its lines; where Grafana does not answer, all hops before it hold."""
    said = once(**loaded.environment())

    if GRAFANA:
        assert 0 == said[0], said[1]
        assert "The walk works: Prometheus names a request of" in said[1]
    else:
        named(Hop.SOURCE, said)


@contextmanager
def frozen(stack: NativeStack) -> Iterator[None]:
    stack.services.signal("api", signal.SIGSTOP)
    yield
    stack.services.signal("api", signal.SIGCONT)


@contextmanager
def unread(stack: NativeStack) -> Iterator[None]:
    elsewhere = stack.folder / "elsewhere"
    elsewhere.mkdir()
    stack.services.stop("api")
    with Processes(elsewhere) as services:
        stack.start_service("api", among=services)
        services.answers("api", f"{stack.url('api')}/readyz")
        yield
    stack.start_service("api")
    stack.services.answers("api", f"{stack.url('api')}/readyz")


@contextmanager
def killed(stack: NativeStack, name: str, start: Callable[[], object]) -> Iterator[None]:
    stack.servers.kill(name)
    yield
    start()


@contextmanager
def restarted(
    stack: NativeStack, name: str, other: Callable[[], object], shipped: Callable[[], object]
) -> Iterator[None]:
    stack.servers.stop(name)
    other()
    yield
    stack.servers.stop(name)
    shipped()


BROKEN: dict[str, tuple[Hop, Broken]] = {
    "the service hangs": (Hop.SERVICE, frozen),
    "nobody reads the service's stdout": (Hop.STDOUT, unread),
    "no Alloy": (Hop.ALLOY, lambda stack: killed(stack, "alloy", stack.start_alloy)),
    "no Loki": (Hop.LOKI, lambda stack: killed(stack, "loki", stack.start_loki)),
    "no Prometheus": (Hop.SCRAPE, lambda stack: killed(stack, "prometheus", stack.start_prometheus)),
    "another target": (
        Hop.SCRAPE,
        lambda stack: restarted(stack, "prometheus", lambda: stack.start_prometheus("nobody"), stack.start_prometheus),
    ),
    "no exemplar storage": (
        Hop.EXEMPLARS,
        lambda stack: restarted(
            stack, "prometheus", lambda: stack.start_prometheus(exemplars=False), stack.start_prometheus
        ),
    ),
}


@natively
@pytest.mark.parametrize("case", BROKEN)
def test_it_names_the_broken_hop(loaded: NativeStack, case: str) -> None:
    """Each hop is broken on real servers, and is the one that is named."""
    hop, broken = BROKEN[case]
    with broken(loaded):
        said = once(**loaded.environment())
    named(hop, said)


@natively
@pytest.mark.skipif(not GRAFANA, reason=NO_GRAFANA)
@pytest.mark.parametrize(
    "wrong",
    [
        {"PROMETHEUS_URL": "http://127.0.0.1:1"},
        {"LOKI_URL": "http://127.0.0.1:1"},
        {"GF_PATHS_PROVISIONING": "/nowhere", "GF_PATHS_DATA": "/tmp/nothing-provisioned"},  # noqa: S108
    ],
    ids=["no Prometheus there", "no Loki there", "nothing provisioned"],
)
def test_it_names_the_data_source(loaded: NativeStack, wrong: dict[str, str], tmp_path: Path) -> None:
    """Grafana answers, and cannot read what the dots and lines are in."""
    if "GF_PATHS_DATA" in wrong:
        wrong = {**wrong, "GF_PATHS_DATA": str(tmp_path)}
    loaded.servers.stop("grafana")
    loaded.start_grafana("/api/health", **wrong)
    said = once(**loaded.environment())
    loaded.servers.stop("grafana")
    loaded.start_grafana()

    named(Hop.SOURCE, said)


@natively
def test_it_finds_the_spike_and_a_slow_request(loaded: NativeStack) -> None:
    """A fault of some seconds is a spike in Prometheus; the request it shows is a slow one, with its lines."""
    at: Places = places(loaded.environment())
    fault = {"fault": "slow-query", "share": 0.3, "seconds": 30, "delay_ms": 1000}
    httpx2.post(f"{loaded.url('api')}/faults", json=fault, headers=LAB).raise_for_status()
    began = time.time()

    def found() -> spikes.Found | None:
        spike = spikes.last(at.prometheus, time.time())
        story = spike and spikes.slow_request(at.prometheus, at.loki, spike, time.time())
        # What was done to the stack before has made spikes, too.
        return story if story and "slow-query" in {line.fields.get("fault_active") for line in story.lines} else None

    with at.prometheus, at.loki:
        story = eventually(found, "a spike with a slow request", seconds=90, pause=1)
    assert story.spike.start <= story.dot.exemplar.at <= story.spike.end + 5
    assert story.spike.end > began
    assert story.dot.exemplar.value > 0.5
    assert {story.dot.exemplar.trace_id} == {line.fields["trace_id"] for line in story.lines}


@natively
@pytest.mark.skipif(not GRAFANA, reason=NO_GRAFANA)
def test_it_tells_the_story_and_stops_in_silence(loaded: NativeStack, tmp_path: Path) -> None:
    """Its first block says where to look, the next ones that it walks and what it found; SIGTERM ends it at once."""
    with Processes(tmp_path) as processes:
        healthy = tmp_path / "whole"
        environment = {**loaded.environment(), "GRAFANA_PORT": "3333", "PYTHONUNBUFFERED": "1"}
        processes.start("tour", [*COMMAND, "--healthy", healthy], environment)

        def said() -> str | None:
            text = processes.output("tour").read_text()
            return text if "Stop " in text else None

        text = eventually(said, "the story", seconds=90)
        assert 0 == processes.kill("tour", signal.SIGTERM)
        assert "" == processes.errors("tour").read_text()
    assert healthy.exists()
    assert text == processes.output("tour").read_text()
    assert text.index("http://localhost:3333") < text.index("The walk works") < text.index("A spike since")
    assert "http://localhost:3333/d/service?from=" in text
    assert "http://localhost:3333/d/trace-logs?var-trace_id=" in text


@pytest.mark.skipif(not UP, reason="the hops of docker compose: only with STACK=up")
@pytest.mark.parametrize(
    ("service", "hop"),
    [
        ("api", Hop.SERVICE),
        ("docker-socket-proxy", Hop.PROXY),
        ("alloy", Hop.ALLOY),
        ("loki", Hop.LOKI),
        ("prometheus", Hop.SCRAPE),
        ("grafana", Hop.SOURCE),
    ],
)
def test_it_names_the_container_that_is_stopped(service: str, hop: Hop) -> None:
    """As a person sees it who has the whole stack: one container is stopped, and the walk is whole again afterwards."""
    compose("stop", service)
    said = once()
    compose("up", "--detach", "--wait", service)

    named(hop, said)
    eventually(lambda: 0 == once()[0], "the whole walk", seconds=60)


def compose(*words: str) -> None:
    subprocess.run(["docker", "compose", *words], cwd=ROOT, check=True, capture_output=True)  # noqa: S603, S607
