"""What the running stack shows, and to whom."""

import re
import subprocess

import httpx2
import pytest

from tests.prove import engine
from tests.prove.conftest import Proof

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|API_?KEY|CREDENTIAL", re.IGNORECASE)


@pytest.mark.usefixtures("proof")
def test_everything_listens_on_loopback() -> None:
    """As the engine published it, and as the machine sees it."""
    ports: set[str] = set()
    for container in engine.inspected(*engine.containers().values()):
        assert container["HostConfig"]["NetworkMode"] != "host"
        for published in (container["NetworkSettings"]["Ports"] or {}).values():
            assert {"127.0.0.1"} >= {each["HostIp"] for each in published or []}
            ports |= {each["HostPort"] for each in published or []}
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    seen = {tuple(row.split()[3].rsplit(":", 1)) for row in listening.splitlines()}
    assert ports
    assert {("127.0.0.1", port) for port in ports} == {(host, port) for host, port in seen if port in ports}


def test_nobody_writes_to_grafana(proof: Proof) -> None:
    """Neither as anonymous nor as the admin whom everybody knows; and who that is, is refused as well."""
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
            answers = [client.request(method, path, json=body, auth=credentials) for method, path, body in writes]
            assert {401, 403, 404} >= {each.status_code for each in answers}
            assert {401, 403, 404} >= {client.get("/api/user", auth=credentials).status_code}
        assert 200 == client.get("/api/dashboards/uid/service").status_code


@pytest.mark.usefixtures("proof")
def test_the_engine_answers_five_questions() -> None:
    """Alloy may list containers and read their lines; whatever else it asks of the engine's API is refused."""

    def ask(method: str, path: str) -> str:
        request = f'printf "{method} {path} HTTP/1.0\\r\\n\\r\\n" >&3; read -r _ code _ <&3; echo $code'
        words = f"exec 3<>/dev/tcp/docker-socket-proxy/2375; {request}"
        return engine.inside("alloy", "bash", "-c", words).strip()

    name = engine.containers("api")["api-1"]
    assert {"200"} == {ask("GET", path) for path in ("/_ping", "/containers/json", f"/containers/{name}/json")}
    more = [
        ("GET", "/images/json"), ("GET", "/info"), ("GET", "/secrets"), ("GET", f"/containers/{name}/archive?path=/"),
        ("GET", f"/containers/{name}/export"), ("GET", "/containers/../images/json"), ("DELETE", f"/containers/{name}"),
        ("POST", f"/containers/{name}/exec"), ("POST", "/containers/create"), ("POST", f"/containers/{name}/kill"),
        ("PUT", f"/containers/{name}/archive?path=/"),
    ]  # fmt: skip
    assert {"403", "405"} >= {ask(method, path) for method, path in more}


@pytest.mark.usefixtures("proof")
def test_no_one_else_reaches_the_engine() -> None:
    """The proxy is on a network of its own, and its name is known to nobody but Alloy."""
    connect = "socket.create_connection(('docker-socket-proxy', 2375), 2)"
    code = f"import socket\ntry: {connect}\nexcept OSError: print('refused')"
    for service in ("api", "payments", "loadtest"):
        assert "refused" in engine.inside(service, "python", "-c", code)


@pytest.mark.usefixtures("proof")
def test_no_environment_has_a_secret() -> None:
    """Whoever may ask the engine may read them."""
    shown = {
        entry
        for container in engine.inspected(*engine.containers().values())
        for entry in container["Config"]["Env"] or []
        if SECRET.search(entry.partition("=")[0]) or re.search(r"://[^/@\s]+:[^/@\s]+@", entry)
    }
    assert {"POSTGRES_PASSWORD_FILE=/proc/sys/kernel/random/uuid"} == shown


@pytest.mark.usefixtures("proof")
def test_what_runs_is_what_is_pinned() -> None:
    """Each container's image has the tag of the file."""
    images = {container["Config"]["Image"] for container in engine.inspected(*engine.containers().values())}
    assert all(re.search(r":v?\d+\.\d+|:local$", image) for image in images), images
