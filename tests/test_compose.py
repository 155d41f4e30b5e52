"""docker-compose.yml: ports on loopback only, no required settings, no privileges, and pinned images."""

import re
from typing import Any

import pytest

from tests.compose import FILE, compose

SERVICES: dict[str, dict[str, Any]] = {
    name: service for name, service in compose()["services"].items() if "extends" not in service
}
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


@every_service
def test_containers_are_hardened(service: dict[str, Any]) -> None:
    """No privileges, a read-only root file system, limits on processes, memory and CPU, and log rotation."""
    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert {"pids_limit", "mem_limit", "cpus"} <= service.keys()
    assert {"max-size", "max-file"} == service["logging"]["options"].keys()
    assert "privileged" not in service
    assert "on-failure:5" == service["restart"]


def test_only_the_proxy_is_root() -> None:
    """Only the proxy runs as root, to open the Docker socket; the project's image sets a numeric user."""
    users = {name: service["user"] for name, service in SERVICES.items() if "build" not in service}
    assert "0:0" == users.pop("docker-socket-proxy")
    assert all(re.fullmatch(r"[1-9]\d*:\d+", user) for user in users.values())
    assert re.search(r"^USER [1-9]\d*", (FILE.parent / "Dockerfile").read_text(), re.MULTILINE)
    assert not [name for name, service in compose()["services"].items() if "network_mode" in service]


@every_service
def test_containers_have_health_checks(service: dict[str, Any]) -> None:
    """Every container has a health check, and dependencies wait until a container is healthy."""
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["healthcheck"]["test"][1] not in {"true", "/bin/true", "echo"}
    assert {"service_healthy"} >= {dependency["condition"] for dependency in service.get("depends_on", {}).values()}


@every_service
def test_ports_are_on_loopback_and_configurable(service: dict[str, Any]) -> None:
    """Ports are reachable only from this machine, and each can be changed with an environment variable."""
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+", port)


def test_published_ports() -> None:
    """The published ports are part of the contract."""
    published = {
        name: service["ports"][0].split("-")[1].split("}")[0]
        for name, service in SERVICES.items()
        if "ports" in service
    }

    assert {
        "api": "8000", "grafana": "3000", "loadtest": "8089", "prometheus": "9090", "loki": "3100", "alloy": "12345",
    } == published  # fmt: skip


@every_service
def test_images_are_pinned(service: dict[str, Any]) -> None:
    """Every image has a tag with a full version, except the one that is built here."""
    assert re.search(r":v?\d+\.\d+(\.\d+)?", service["image"]) or service["image"] == "spike-to-log:local"


def test_only_the_proxy_has_the_docker_socket() -> None:
    """The proxy shares an internal network only with Alloy, and allows only read requests."""
    socket = [name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes"))]
    network = [name for name, service in SERVICES.items() if "docker-api" in service.get("networks", [])]

    assert ["docker-socket-proxy"] == socket
    assert ["docker-socket-proxy", "alloy"] == network
    assert compose()["networks"]["docker-api"]["internal"] is True
    assert not re.search(r"allow(POST|PUT|DELETE)", FILE.read_text())


def test_one_log_file_holds_ten_minutes() -> None:
    """Alloy can catch up after one rotation: 200 requests per second at `debug` write 3.1 kB each."""
    for service in SERVICES.values():
        if service.get("labels", {}).get("logging") == "alloy":
            size, files = service["logging"]["options"].values()
            assert int(size.removesuffix("m")) * 1e6 > 600 * 200 * 3100
            assert int(files) >= 2


def test_hanging_container_is_unhealthy_within_30_s() -> None:
    """All retries of the health check end within 30 seconds."""
    for service in SERVICES.values():
        check = service["healthcheck"]
        interval, timeout = (int(check[name].removesuffix("s")) for name in ("interval", "timeout"))
        assert (interval + timeout) * check["retries"] + interval <= 30


def test_no_passwords() -> None:
    """There are no passwords in the file, and none is required."""
    environments = {
        f"{key}={value}" for service in SERVICES.values() for key, value in service.get("environment", {}).items()
    }
    secrets = {entry for entry in environments if re.search("PASSWORD|SECRET|TOKEN|KEY=", entry)}

    assert {"POSTGRES_PASSWORD_FILE=/proc/sys/kernel/random/uuid"} == secrets
    assert "secrets" not in compose()


def test_only_the_services_of_the_project_are_collected() -> None:
    """Alloy does not collect the lines of Loki and Alloy, which would create more lines."""
    collected = {name for name, service in SERVICES.items() if service.get("labels", {}).get("logging") == "alloy"}

    assert {"api", "payments", "loadtest"} == collected
