"""Access to the running stack."""

import re
import subprocess

import httpx2
import pytest

from tests.prove import engine
from tests.prove.conftest import Proof
from tests.stack import stores, web_page
from tests.stack.native import published_urls

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|API_?KEY|CREDENTIAL", re.IGNORECASE)


@pytest.mark.usefixtures("proof")
def test_all_ports_are_on_loopback() -> None:
    """Every published port listens on loopback only, according to Docker and to the machine."""
    ports: set[str] = set()
    for container in engine.inspect(*engine.containers().values()):
        assert container["HostConfig"]["NetworkMode"] != "host"
        for published in (container["NetworkSettings"]["Ports"] or {}).values():
            assert {"127.0.0.1"} >= {each["HostIp"] for each in published or []}
            ports |= {each["HostPort"] for each in published or []}
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    sockets = {tuple(row.split()[3].rsplit(":", 1)) for row in listening.splitlines()}
    assert ports
    assert {("127.0.0.1", port) for port in ports} == {(host, port) for host, port in sockets if port in ports}


def test_grafana_is_read_only(proof: Proof) -> None:
    """Grafana rejects all writes, both anonymous and with the default admin account, and does not show user data."""
    with httpx2.Client(base_url=proof.stack.grafana or "") as client:
        dashboard = {"dashboard": {"uid": "mine", "title": "mine", "panels": []}, "overwrite": True}
        writes = [
            ("POST", "/api/dashboards/db", dashboard),
            ("POST", "/api/folders", {"title": "mine"}),
            (
                "POST",
                "/api/datasources",
                {"name": "mine", "type": "loki", "url": "http://loki:3100", "access": "proxy"},
            ),
            (
                "PUT",
                "/api/datasources/uid/loki",
                {"name": "mine", "type": "loki", "url": "http://x", "access": "proxy"},
            ),
            ("DELETE", "/api/datasources/uid/loki", None),
            ("DELETE", "/api/dashboards/uid/service", None),
            ("POST", "/api/admin/users", {"login": "mine", "password": "mine-mine"}),
            ("POST", "/api/user/using/1", None),
        ]
        for credentials in (None, ("admin", "admin"), ("admin", "")):
            responses = [client.request(method, path, json=body, auth=credentials) for method, path, body in writes]
            assert {401, 403, 404} >= {each.status_code for each in responses}
            assert {401, 403, 404} >= {client.get("/api/user", auth=credentials).status_code}
        assert 200 == client.get("/api/dashboards/uid/service").status_code


@pytest.mark.usefixtures("proof")
@pytest.mark.parametrize("attack", web_page.ATTACKS, ids=str)
def test_web_pages_change_nothing(attack: web_page.Attack) -> None:
    """Every published port refuses the requests that a page in the user's browser can send."""
    web_page.assert_refused(published_urls()[attack.server], attack)


@pytest.mark.usefixtures("proof")
@pytest.mark.parametrize(("method", "path"), web_page.THROUGH_GRAFANA)
def test_web_pages_only_read_through_grafana(method: str, path: str) -> None:
    """Grafana's data source proxy, which anonymous visitors may use, refuses all other requests."""
    web_page.assert_refused_by_grafana(published_urls()["grafana"], method, path)


@pytest.mark.usefixtures("proof")
def test_everything_runs_after_the_attacks() -> None:
    """No container stopped or restarted, and no line was written."""
    containers = engine.inspect(*engine.containers().values())
    assert {(True, 0)} == {(each["State"]["Running"], each["RestartCount"]) for each in containers}
    assert not stores.lines(published_urls()["loki"], '{service_name="gateway"}')


@pytest.mark.usefixtures("proof")
def test_proxy_allows_only_reading_logs() -> None:
    """Alloy may list containers and read their logs; the proxy rejects all other requests to the Docker API."""

    def request(method: str, path: str) -> str:
        command = f'printf "{method} {path} HTTP/1.0\\r\\n\\r\\n" >&3; read -r _ code _ <&3; echo $code'
        script = f"exec 3<>/dev/tcp/docker-socket-proxy/2375; {command}"
        return engine.execute("alloy", "bash", "-c", script).strip()

    name = engine.containers("api")["api-1"]
    assert {"200"} == {request("GET", path) for path in ("/_ping", "/containers/json", f"/containers/{name}/json")}
    forbidden = [
        ("GET", "/images/json"), ("GET", "/info"), ("GET", "/secrets"), ("GET", f"/containers/{name}/archive?path=/"),
        ("GET", f"/containers/{name}/export"), ("GET", "/containers/../images/json"), ("DELETE", f"/containers/{name}"),
        ("POST", f"/containers/{name}/exec"), ("POST", "/containers/create"), ("POST", f"/containers/{name}/kill"),
        ("PUT", f"/containers/{name}/archive?path=/"),
    ]  # fmt: skip
    assert {"403", "405"} >= {request(method, path) for method, path in forbidden}


@pytest.mark.usefixtures("proof")
def test_only_alloy_reaches_the_proxy() -> None:
    """The proxy is on a separate network, where only Alloy can resolve its name."""
    connect = "socket.create_connection(('docker-socket-proxy', 2375), 2)"
    code = f"import socket\ntry: {connect}\nexcept OSError: print('refused')"
    for service in ("api", "payments", "loadtest"):
        assert "refused" in engine.execute(service, "python", "-c", code)


@pytest.mark.usefixtures("proof")
def test_environments_contain_no_secrets() -> None:
    """Environment variables are visible to every client of the Docker API, so they contain no secrets."""
    secrets = {
        entry
        for container in engine.inspect(*engine.containers().values())
        for entry in container["Config"]["Env"] or []
        if SECRET.search(entry.partition("=")[0]) or re.search(r"://[^/@\s]+:[^/@\s]+@", entry)
    }
    assert {"POSTGRES_PASSWORD_FILE=/proc/sys/kernel/random/uuid"} == secrets


@pytest.mark.usefixtures("proof")
def test_images_are_pinned() -> None:
    """Every running image has a version tag, or is built locally."""
    images = {container["Config"]["Image"] for container in engine.inspect(*engine.containers().values())}
    assert all(re.search(r":v?\d+\.\d+|:local$", image) for image in images), images
