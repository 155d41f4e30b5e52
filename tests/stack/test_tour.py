"""The tour against real servers: every step works, and a broken one is named."""

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

from tests.app.faults import FAULT_HEADERS
from tests.load import locust
from tests.processes import Processes
from tests.stack.native import ROOT, NativeStack
from tests.waiting import wait_for
from triage.endpoints import read_endpoints
from triage.tour import guide
from triage.tour.output import SlowRequest
from triage.tour.steps import Step

UP = os.environ.get("STACK") == "up"
GRAFANA = "GRAFANA_HOME" in os.environ
NO_GRAFANA = "GRAFANA_HOME does not name a Grafana build"
COMMAND = [sys.executable, "-m", "triage", "tour"]

natively = pytest.mark.skipif(UP, reason="STACK=up: the containers of docker compose are stopped instead")

Broken = Callable[[NativeStack], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def native() -> Iterator[NativeStack]:
    """Return a separate stack without load, whose servers may be stopped."""
    with NativeStack() as stack:
        stack.start()
        yield stack


@pytest.fixture(scope="module")
def loaded(native: NativeStack) -> Iterator[NativeStack]:
    """Return the same stack with 20 requests per second."""
    native.servers.start("load", locust(native.url("api"), 20, 20))
    yield native
    # First, so that the services do not wait for its last requests.
    native.servers.kill("load")


def once(**environment: str) -> tuple[int, str]:
    """Check once; return the exit code and the output."""
    command = [*COMMAND, "--once"]
    done = subprocess.run(  # noqa: S603
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def assert_broken(step: Step, result: tuple[int, str]) -> None:
    code, output = result
    assert (1, step.value) == (code, output.partition("Broken step: ")[2].split("\n")[0]), output


@natively
def test_no_requests(native: NativeStack) -> None:
    """Without requests, the exit code is 2, with the address of the load generator."""
    code, output = once(**native.environment())

    if GRAFANA:
        assert 2 == code
        assert "start a run at http://localhost:8089" in output
    else:
        assert_broken(Step.DATA_SOURCE, (code, output))


@natively
def test_every_step_works(loaded: NativeStack) -> None:
    """With requests, the exit code is 0; without Grafana, all steps before it work."""
    code, output = once(**loaded.environment())

    if GRAFANA:
        assert 0 == code, output
        assert "Every step works: Prometheus has a request that took" in output
    else:
        assert_broken(Step.DATA_SOURCE, (code, output))


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
        services.wait_until_ready("api", f"{stack.url('api')}/readyz")
        yield
    stack.start_service("api")
    stack.services.wait_until_ready("api", f"{stack.url('api')}/readyz")


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


BROKEN: dict[str, tuple[Step, Broken]] = {
    "the service hangs": (Step.SERVICE, frozen),
    "the service's stdout is not read": (Step.STDOUT, unread),
    "no Alloy": (Step.ALLOY, lambda stack: killed(stack, "alloy", stack.start_alloy)),
    "no Loki": (Step.LOKI, lambda stack: killed(stack, "loki", stack.start_loki)),
    "no Prometheus": (Step.SCRAPE, lambda stack: killed(stack, "prometheus", stack.start_prometheus)),
    "another target": (
        Step.SCRAPE,
        lambda stack: restarted(stack, "prometheus", lambda: stack.start_prometheus("unused"), stack.start_prometheus),
    ),
    "no exemplar storage": (
        Step.EXEMPLARS,
        lambda stack: restarted(
            stack, "prometheus", lambda: stack.start_prometheus(exemplars=False), stack.start_prometheus
        ),
    ),
}


@natively
@pytest.mark.parametrize("case", BROKEN)
def test_broken_step(loaded: NativeStack, case: str) -> None:
    """Each step that is broken on real servers is named."""
    step, broken = BROKEN[case]
    with broken(loaded):
        result = once(**loaded.environment())
    assert_broken(step, result)


@natively
@pytest.mark.skipif(not GRAFANA, reason=NO_GRAFANA)
@pytest.mark.parametrize(
    "wrong",
    [
        {"PROMETHEUS_URL": "http://127.0.0.1:1"},
        {"LOKI_URL": "http://127.0.0.1:1"},
        {"GF_PATHS_PROVISIONING": "/nowhere", "GF_PATHS_DATA": "/tmp/nothing-provisioned"},  # noqa: S108
    ],
    ids=["wrong Prometheus URL", "wrong Loki URL", "no provisioning"],
)
def test_broken_data_source(loaded: NativeStack, wrong: dict[str, str], tmp_path: Path) -> None:
    """Grafana that cannot query Prometheus or Loki is a broken step."""
    if "GF_PATHS_DATA" in wrong:
        wrong = {**wrong, "GF_PATHS_DATA": str(tmp_path)}
    loaded.servers.stop("grafana")
    loaded.start_grafana("/api/health", **wrong)
    result = once(**loaded.environment())
    loaded.servers.stop("grafana")
    loaded.start_grafana()

    assert_broken(Step.DATA_SOURCE, result)


@natively
def test_spike_and_slow_request(loaded: NativeStack) -> None:
    """A fault of some seconds is a spike in Prometheus; the request that is shown is slow and has its lines."""
    endpoints = read_endpoints(overrides=loaded.environment())
    fault = {"fault": "slow-query", "share": 0.3, "seconds": 30, "delay_ms": 1000}
    httpx2.post(f"{loaded.url('api')}/faults", json=fault, headers=FAULT_HEADERS).raise_for_status()
    began = time.time()

    def find() -> SlowRequest | None:
        now = time.time()
        spike = guide.last_spike(endpoints.prometheus, now)
        found = spike and guide.find_slow_request(endpoints.prometheus, endpoints.loki, spike, now)
        # Earlier tests have caused spikes, too.
        return found if found and "slow-query" in {line.fields.get("fault_active") for line in found.lines} else None

    with endpoints.prometheus, endpoints.loki:
        found = wait_for(find, "a spike with a slow request", seconds=90, pause=1)
    exemplar = found.exemplar.exemplar
    assert found.spike.start <= exemplar.at <= found.spike.end + 5
    assert found.spike.end > began
    assert exemplar.value > 0.5
    assert {exemplar.trace_id} == {line.fields["trace_id"] for line in found.lines}


@natively
@pytest.mark.skipif(not GRAFANA, reason=NO_GRAFANA)
def test_output_and_stop(loaded: NativeStack, tmp_path: Path) -> None:
    """It prints addresses, that every step works, and a spike; SIGTERM stops it at once without further output."""
    with Processes(tmp_path) as processes:
        healthy = tmp_path / "healthy"
        environment = {**loaded.environment(), "GRAFANA_PORT": "3333", "PYTHONUNBUFFERED": "1"}
        processes.start("tour", [*COMMAND, "--healthy", healthy], environment)

        def output() -> str | None:
            text = processes.output("tour").read_text()
            return text if "Stop " in text else None

        text = wait_for(output, "a spike with a slow request", seconds=90)
        assert 0 == processes.kill("tour", signal.SIGTERM)
        assert "" == processes.errors("tour").read_text()
    assert healthy.exists()
    assert text == processes.output("tour").read_text()
    assert text.index("http://localhost:3333") < text.index("Every step works") < text.index("A spike since")
    assert "http://localhost:3333/d/service?from=" in text
    assert "http://localhost:3333/d/trace-logs?var-trace_id=" in text


@pytest.mark.skipif(not UP, reason="stops containers of docker compose: only with STACK=up")
@pytest.mark.parametrize(
    ("service", "step"),
    [
        ("api", Step.SERVICE),
        ("docker-socket-proxy", Step.PROXY),
        ("alloy", Step.ALLOY),
        ("loki", Step.LOKI),
        ("prometheus", Step.SCRAPE),
        ("grafana", Step.DATA_SOURCE),
    ],
)
def test_stopped_container(service: str, step: Step) -> None:
    """A stopped container is a broken step; after it is started, every step works again."""
    compose("stop", service)
    result = once()
    compose("up", "--detach", "--wait", service)

    assert_broken(step, result)
    wait_for(lambda: 0 == once()[0], "every step", seconds=60)


def compose(*arguments: str) -> None:
    subprocess.run(["docker", "compose", *arguments], cwd=ROOT, check=True, capture_output=True)  # noqa: S603, S607
