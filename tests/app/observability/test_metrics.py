"""The metrics and the page that Prometheus scrapes."""

import re

import httpx2
import pytest
from prometheus_client import CollectorRegistry, GCCollector, Histogram

from app.observability import BUCKETS, ObservabilityMiddleware, metrics_page
from app.observability.metrics import metrics_in
from app.observability.middleware import Receive, Scope, Send
from app.observability.testing import metric_value

pytestmark = pytest.mark.anyio

NAME = "http_request_duration_seconds"
LABELS = {"method": "GET", "route": "/", "status": "200"}


async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


async def request(app: ObservabilityMiddleware) -> None:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://tested") as client:
        await client.get("/")


def observe(registry: CollectorRegistry, trace_id: str, seconds: float) -> None:
    exemplar = {"trace_id": trace_id, "span_id": "b7ad6b7169203331"}
    metrics_in(registry, BUCKETS).observe("GET", "/", 200, seconds, exemplar)


@pytest.mark.parametrize(
    ("accept", "content_type", "exemplars"),
    [
        pytest.param(
            "application/openmetrics-text;version=1.0.0", "application/openmetrics-text", True, id="prometheus"
        ),
        pytest.param("*/*", "text/plain", False, id="curl"),
        pytest.param("", "text/plain", False, id="empty"),
    ],
)
def test_the_format_is_negotiated(accept: str, content_type: str, exemplars: bool) -> None:  # noqa: FBT001
    """Exemplars exist only in OpenMetrics, and not every reader can parse it."""
    registry = CollectorRegistry()
    observe(registry, "id", 0.1)
    page, full_type = metrics_page(accept, registry)

    assert content_type == full_type.split(";")[0]
    assert exemplars == (b"# {" in page)


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("application/openmetrics-text;version=abc", id="not a number"),
        pytest.param("application/openmetrics-text;version=", id="no version"),
        pytest.param(f"application/openmetrics-text;version={'9' * 5_000}", id="more digits than Python converts"),
        pytest.param(";;,=", id="no type"),
        pytest.param("\xff" * 99, id="not ASCII"),
    ],
)
def test_an_invalid_accept_header_is_not_an_error(accept: str) -> None:
    """The page is in one of the two formats."""
    registry = CollectorRegistry()
    observe(registry, "id", 0.1)
    page, _ = metrics_page(accept, registry)

    assert b"http_request_duration_seconds_count" in page


@pytest.mark.parametrize("trace_id", ["a" * 64, "slow"])
def test_every_request_has_an_exemplar(trace_id: str) -> None:
    """Also with the longest trace id, because OpenMetrics allows 128 characters, and above the last bound."""
    registry = CollectorRegistry()
    observe(registry, trace_id, 60.0)
    page, _ = metrics_page("application/openmetrics-text", registry)

    (line,) = (line for line in page.decode().splitlines() if trace_id in line)
    assert 'le="+Inf"' in line
    assert " 60.0 " in line


def test_a_bound_is_part_of_its_bucket() -> None:
    """A request that took exactly 0.5 s meets the objective of 0.5 s."""
    registry = CollectorRegistry()
    for seconds in (0.5, 0.3, 0.7):
        observe(registry, "id", seconds)

    assert [0, 2, 3] == [metric_value(f"{NAME}_bucket", registry, **LABELS, le=le) for le in ("0.25", "0.5", "1.0")]
    assert 1.5 == metric_value(f"{NAME}_sum", registry, **LABELS)


def test_a_bucket_has_its_latest_exemplar() -> None:
    """The third request is in another bucket."""
    registry = CollectorRegistry()
    for number, seconds in enumerate([0.5, 0.3, 0.7]):
        observe(registry, f"id-{number}", seconds)
    page, _ = metrics_page("application/openmetrics-text", registry)

    assert ["id-1", "id-2"] == re.findall(r'trace_id="([^"]*)"', page.decode())


async def test_buckets_are_configurable() -> None:
    """For services with another latency objective."""
    registry = CollectorRegistry()
    await request(ObservabilityMiddleware(application, registry=registry, routes={"/"}, buckets=(0.2, 3.0)))

    bounds = {sample.labels["le"] for family in registry.collect() for sample in family.samples
              if sample.name == f"{NAME}_bucket"}  # fmt: skip
    assert {"0.2", "3.0", "+Inf"} == bounds


async def test_the_default_registry_is_that_of_prometheus_client() -> None:
    """Its process and GC collectors are not registered twice."""
    app = ObservabilityMiddleware(application, routes={"/default"})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://tested") as client:
        await client.get("/default")

    assert 1 == metric_value(f"{NAME}_count", method="GET", route="/default", status="200")
    assert 1 == metrics_page()[0].decode().count("# TYPE process_open_fds gauge")


async def test_applications_can_share_a_registry() -> None:
    """They use the same metrics; another registry has its own."""
    registry, other = CollectorRegistry(), CollectorRegistry()
    for chosen in (registry, registry, other):
        await request(ObservabilityMiddleware(application, registry=chosen, routes={"/"}))

    assert 2 == metric_value(f"{NAME}_count", registry, **LABELS)
    assert 1 == metric_value(f"{NAME}_count", other, **LABELS)


async def test_names_that_are_already_registered() -> None:
    """The metric of another library stays as it is, and the other metrics are registered."""
    registry = CollectorRegistry()
    GCCollector(registry=registry)
    Histogram(NAME, "A metric of another library.", registry=registry)
    await request(ObservabilityMiddleware(application, registry=registry))

    assert 0 == metric_value(f"{NAME}_count", registry)
    assert 0 == metric_value("http_requests_in_flight", registry)
