"""What a web page in a browser on this machine can do with Loki, Prometheus and Alloy: nothing that changes anything.

The pages of browsers send what these tests send. The last tests use Grafana's data source proxy.
"""

import os
import shutil
import time
from typing import NamedTuple

import httpx2
import pytest

from tests.stack import stores
from tests.stack.native import NativeStack, Stack
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(
    os.environ.get("STACK") != "up" and not shutil.which("nginx"),
    reason="nginx is not installed: apt install nginx-light",
)

LINES = {
    "streams": [{"stream": {"service_name": "gateway"}, "values": [[str(time.time_ns()), '{"message": "written"}']]}]
}
POINT = {"asInt": "7", "timeUnixNano": str(time.time_ns())}
METRICS = {
    "resourceMetrics": [
        {"scopeMetrics": [{"metrics": [{"name": "written_by_a_test", "gauge": {"dataPoints": [POINT]}}]}]}
    ]
}
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
FOREIGN_ORIGIN = {"Origin": "http://evil.example"}
FOREIGN_HOST = {"Host": "evil.example"}
PUSH, OTLP = "/loki/api/v1/push", "/api/v1/otlp/v1/metrics"

REFUSED = [
    ("loki", "GET", "/ingester/shutdown", {}),
    ("loki", "POST", "/ingester/shutdown", {}),
    ("loki", "GET", "/flush", {}),
    ("loki", "POST", "/flush", {}),
    ("loki", "GET", "/config", {}),
    ("loki", "POST", "/log_level?log_level=debug", {}),
    ("loki", "GET", "/debug/pprof/heap", {}),
    ("loki", "POST", '/loki/api/v1/delete?query={service_name="api"}', {}),
    ("loki", "POST", PUSH, TEXT),
    ("loki", "POST", PUSH, {}),
    ("loki", "POST", PUSH, JSON | FOREIGN_ORIGIN),
    ("loki", "POST", PUSH, JSON | {"Origin": "null"}),
    ("loki", "POST", PUSH, JSON | FOREIGN_HOST),
    ("loki", "OPTIONS", PUSH, FOREIGN_ORIGIN | {"Access-Control-Request-Method": "POST"}),
    ("loki", "POST", "/otlp/v1/logs", JSON),
    ("loki", "POST", "/api/prom/push", JSON),
    ("loki", "GET", "/loki/api/v1/tail", {"Connection": "Upgrade", "Upgrade": "websocket"}),
    ("loki", "GET", "/loki/api/v1/labels", FOREIGN_HOST),
    ("loki", "GET", "/ingester/shutdown%2f..%2f..%2fready", {}),
    ("loki", "GET", "/ready%2f..%2fingester%2fshutdown", {}),
    ("prometheus", "POST", OTLP, TEXT),
    ("prometheus", "POST", OTLP, JSON | FOREIGN_ORIGIN),
    ("prometheus", "POST", OTLP, JSON | FOREIGN_HOST),
    ("prometheus", "POST", "/api/v1/write", {"Content-Type": "application/x-protobuf"}),
    ("prometheus", "POST", "/-/reload", {}),
    ("prometheus", "PUT", "/-/quit", {}),
    ("prometheus", "POST", "/api/v1/admin/tsdb/delete_series?match[]=up", {}),
    ("prometheus", "GET", "/debug/pprof/heap", {}),
    ("prometheus", "GET", "/api/v1/query?query=up", FOREIGN_HOST),
    ("alloy", "GET", "/-/reload", {}),
    ("alloy", "POST", "/-/reload", {}),
    ("alloy", "GET", "/-/support", {}),
    ("alloy", "GET", "/debug/pprof/heap", {}),
    ("alloy", "GET", "/", FOREIGN_HOST),
]  # fmt: skip


class Gateway(NamedTuple):
    """The published addresses."""

    loki: str
    prometheus: str
    alloy: str


@pytest.fixture(scope="module")
def gateway(native: NativeStack | None, stack: Stack) -> Gateway:
    if native:
        return Gateway(*(native.gateway(name) for name in Gateway._fields))
    return Gateway(stack.loki, stack.prometheus, f"http://127.0.0.1:{os.environ.get('ALLOY_PORT', '12345')}")


@pytest.mark.parametrize(("name", "method", "path", "headers"), REFUSED)
def test_refused(gateway: Gateway, name: str, method: str, path: str, headers: dict[str, str]) -> None:
    """Administration, writes of web pages, other hosts and ambiguous paths are refused, also to a CORS preflight."""
    body = {PUSH: LINES, OTLP: METRICS}.get(path) if method == "POST" else None
    content = httpx2.Request("POST", "http://x", json=body).content if body else None
    response = httpx2.request(method, getattr(gateway, name) + path, headers=headers, content=content)

    assert response.status_code in {400, 403, 405}
    assert "access-control-allow-origin" not in response.headers


def test_other_origins_cannot_read(gateway: Gateway) -> None:
    """A web page may send a query, but its browser does not let it read the response."""
    for url in (
        f"{gateway.loki}/loki/api/v1/labels",
        f"{gateway.prometheus}/api/v1/query?query=up",
        f"{gateway.alloy}/-/ready",
    ):
        response = httpx2.get(url, headers=FOREIGN_ORIGIN)
        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers


def test_programs_read_and_write(gateway: Gateway) -> None:
    """`make load` and `triage` on this machine can do what they need."""
    assert 200 == httpx2.get(f"{gateway.alloy}/-/ready").status_code
    assert 200 == httpx2.post(f"{gateway.prometheus}{OTLP}", json=METRICS).status_code
    assert 204 == httpx2.post(f"{gateway.loki}{PUSH}", json=LINES).status_code
    wait_for(lambda: stores.query(gateway.prometheus, "written_by_a_test"), "the metric")
    (line,) = wait_for(lambda: stores.lines(gateway.loki, '{service_name="gateway"}'), "the line")
    assert {"message": "written"} == line.fields


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "loki/ingester/shutdown"),
        ("GET", "loki/flush"),
        ("GET", "loki/config"),
        ("POST", f"loki{PUSH}"),
        ("GET", "loki/loki/api/v1/tail"),
        ("POST", "loki/loki/api/v1/delete"),
        ("POST", "prometheus/api/v1/write"),
        ("POST", f"prometheus{OTLP}"),
        ("POST", "prometheus/api/v1/admin/tsdb/clean_tombstones"),
    ],
)
def test_grafana_only_reads(stack: Stack, method: str, path: str) -> None:
    """Grafana's data source proxy, which anonymous visitors may use, passes on only what reads."""
    if stack.grafana is None:
        pytest.skip("GRAFANA_HOME does not name a Grafana build")
    proxy = f"{stack.grafana}/api/datasources/proxy/uid"
    response = httpx2.request(method, f"{proxy}/{path}", json={})

    assert response.status_code in {400, 403, 404, 405}
    assert 200 == httpx2.get(f"{proxy}/loki/loki/api/v1/labels").status_code
