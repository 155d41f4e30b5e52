"""Requests that a web page of another site can make a browser send."""

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from app.settings import PaymentsSettings
from tests.app.faults import FAULT_HEADERS
from tests.processes import Processes
from tests.services import Service, running

METHODS = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module", params=["api", "payments"])
def service(request: pytest.FixtureRequest, processes: Processes, payments: Service) -> Iterator[Service]:
    """Run a service with two further names."""
    settings = {"FAULTS": "on", "PAYMENTS_URL": payments.url, "ALLOWED_HOSTS": "shop.example, *.internal"}
    settings["DATABASE_URL"] = f"sqlite:///{processes.folder}/cross-site.db"
    with running(processes, request.param, settings, f"{request.param}-cross-site") as started:
        yield started


def statuses(service: Service, **headers: str) -> set[int]:
    """Return the statuses of every state-changing method on every route, with an empty body."""
    paths = service.client.get("/openapi.json").json()["paths"]
    return {
        service.client.request(method, path, headers={**FAULT_HEADERS, **headers}).status_code
        for path in paths
        for method in METHODS
        if path not in {"/healthz", "/readyz", "/metrics"}
    }


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:3000", "http://localhost", "null", "http://[", "x"]
)
def test_a_foreign_origin_is_refused(service: Service, origin: str) -> None:
    """On every route, also that of another port of this machine, and that of a sandboxed page."""
    assert {403} == statuses(service, Origin=origin)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "internal", "[::2]", ""]
)
def test_a_foreign_host_is_refused(service: Service, host: str) -> None:
    """After DNS rebinding, a page has the same origin as the service, and could even read responses."""
    assert {400} == statuses(service, Host=host, Origin=f"http://{host}")
    assert 400 == service.client.get("/openapi.json", headers={"Host": host}).status_code


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000", "shop.example", "a.b.internal"]
)
def test_own_names_are_accepted(service: Service, host: str) -> None:
    """With the same origin, as from the API documentation in a browser, and behind a proxy that serves https."""
    assert not {400, 403} & statuses(service, Host=host, Origin=f"https://{host.lower()}")


def test_a_refused_request_has_problem_details_and_a_line(service: Service) -> None:
    """The response has a trace id; the detail names the setting."""
    response = service.client.post("/anything", headers={"Host": "evil.example"})
    finished = service.finished(response.headers["x-trace-id"])

    assert "application/problem+json" == response.headers["content-type"]
    assert "ALLOWED_HOSTS" in response.json()["detail"]
    assert (400, "client_error") == (finished["status"], finished["outcome"])


def test_probes_and_metrics_are_not_checked(service: Service) -> None:
    """Prometheus and load balancers use addresses that are not configured."""
    headers = {"Host": "10.0.0.1:8000", "Origin": "http://10.0.0.2"}
    assert {200} == {
        service.client.get(path, headers=headers).status_code for path in ("/healthz", "/readyz", "/metrics")
    }


def test_there_are_no_redirects(service: Service) -> None:
    """They would contain what a client sends in Host and X-Forwarded-Proto."""
    headers = {"Host": "shop.example", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    responses = [service.client.get(path, headers=headers) for path in ("/users/", "/charges/", "/healthz/", "/docs/")]

    assert {404} == {response.status_code for response in responses}
    assert not any("location" in response.headers for response in responses)


@pytest.mark.parametrize("names", ["http://shop.example", "shop.example:8000", "*shop", "a b/"])
def test_invalid_names_are_refused_at_the_start(names: str) -> None:
    """With a message that describes valid ones."""
    with pytest.raises(ValidationError, match="should be names without ports"):
        PaymentsSettings(allowed_hosts=names)
