"""What a web page in a browser on this machine can do with the published ports: nothing that changes anything.

The last test uses Grafana's data source proxy.
"""

import os
import shutil

import httpx2
import pytest

from tests.stack import stores, web_page
from tests.stack.native import NativeStack, Stack, published_urls
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(
    os.environ.get("STACK") != "up" and not shutil.which("nginx"),
    reason="nginx is not installed: apt install nginx-light",
)


@pytest.fixture(scope="module")
def published(native: NativeStack | None, stack: Stack) -> dict[str, str]:
    """Return the published URLs; the native stack has no Locust."""
    if native is None:
        return published_urls()
    return {name: native.gateway(name) for name in ("loki", "prometheus", "alloy")} | {"api": stack.api}


@pytest.mark.parametrize("attack", web_page.ATTACKS, ids=str)
def test_refused(published: dict[str, str], attack: web_page.Attack) -> None:
    """Administration, writes of web pages, other hosts and ambiguous paths are refused, also to a CORS preflight."""
    if attack.server not in published:
        pytest.skip("Locust is not part of the native stack: tests/loadtest/test_load.py")
    web_page.assert_refused(published[attack.server], attack)


def test_other_origins_cannot_read(published: dict[str, str]) -> None:
    """A web page may send a query, but its browser does not let it read the response."""
    for url in (
        f"{published['loki']}/loki/api/v1/labels",
        f"{published['prometheus']}/api/v1/query?query=up",
        f"{published['alloy']}/-/ready",
    ):
        response = httpx2.get(url, headers=web_page.FOREIGN_ORIGIN)
        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers


def test_programs_read_and_write(published: dict[str, str]) -> None:
    """`make load` and `triage` on this machine can do what they need."""

    def write(url: str, body: str) -> httpx2.Response:
        return httpx2.post(url, content=body, headers=web_page.JSON)

    assert 200 == httpx2.get(f"{published['alloy']}/-/ready").status_code
    assert 200 == write(f"{published['prometheus']}{web_page.OTLP}", web_page.metrics()).status_code
    assert 204 == write(f"{published['loki']}{web_page.PUSH}", web_page.log_lines()).status_code
    wait_for(lambda: stores.query(published["prometheus"], "written_by_a_test"), "the metric")
    (line,) = wait_for(lambda: stores.lines(published["loki"], '{service_name="gateway"}'), "the line")
    assert {"message": "written"} == line.fields


@pytest.mark.parametrize(("method", "path"), web_page.THROUGH_GRAFANA)
def test_grafana_only_reads(stack: Stack, method: str, path: str) -> None:
    """Grafana's data source proxy, which anonymous visitors may use, passes on only what reads."""
    if stack.grafana is None:
        pytest.skip("GRAFANA_HOME does not name a Grafana build")
    web_page.assert_refused_by_grafana(stack.grafana, method, path)
