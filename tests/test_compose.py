"""docker-compose.yml keeps its promises: nothing exposed, nothing to fill in, nothing privileged, nothing unpinned."""

import re
from typing import Any

import pytest

from tests.compose import FILE, compose

SERVICES: dict[str, dict[str, Any]] = {
    name: service for name, service in compose()["services"].items() if "extends" not in service
}
each = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


@each
def test_containers_are_hardened(service: dict[str, Any]) -> None:
    """No privilege, no writable root, bounded processes, memory and CPU, logs that rotate, no root but one."""
    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert {"pids_limit", "mem_limit", "cpus"} <= service.keys()
    assert {"max-size", "max-file"} == service["logging"]["options"].keys()
    assert "privileged" not in service
    assert "on-failure:5" == service["restart"]


def test_only_the_proxy_is_root() -> None:
    """Without a capability, root is just the owner of the engine's socket; our own image has a user of its own."""
    users = {name: service["user"] for name, service in SERVICES.items() if "build" not in service}
    assert "0:0" == users.pop("docker-socket-proxy")
    assert all(re.fullmatch(r"[1-9]\d*:\d+", user) for user in users.values())
    assert re.search(r"^USER [1-9]\d*", (FILE.parent / "Dockerfile").read_text(), re.MULTILINE)
    assert not [name for name, service in compose()["services"].items() if "network_mode" in service]


@each
def test_containers_tell_whether_they_work(service: dict[str, Any]) -> None:
    """Each has a health check, and what needs another one waits for its health."""
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["healthcheck"]["test"][1] not in {"true", "/bin/true", "echo"}
    assert {"service_healthy"} >= {needed["condition"] for needed in service.get("depends_on", {}).values()}


@each
def test_ports_are_on_loopback_and_can_be_changed(service: dict[str, Any]) -> None:
    """Nobody but this machine reaches them."""
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+", port)


def test_ports_are_the_contract() -> None:
    """Contract 6."""
    published = {
        name: service["ports"][0].split("-")[1].split("}")[0]
        for name, service in SERVICES.items()
        if "ports" in service
    }

    assert {
        "api": "8000", "grafana": "3000", "loadtest": "8089", "prometheus": "9090", "loki": "3100", "alloy": "12345",
    } == published  # fmt: skip


@each
def test_images_are_pinned(service: dict[str, Any]) -> None:
    """A tag with a whole version; ours is built here."""
    assert re.search(r":v?\d+\.\d+(\.\d+)?", service["image"]) or service["image"] == "spike-to-log:local"


def test_the_engine_is_asked_by_the_proxy_alone() -> None:
    """Its socket is in one container, on a network with one other, and only for questions."""
    socket = [name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes"))]
    network = [name for name, service in SERVICES.items() if "docker-api" in service.get("networks", [])]

    assert ["docker-socket-proxy"] == socket
    assert ["docker-socket-proxy", "alloy"] == network
    assert compose()["networks"]["docker-api"]["internal"] is True
    assert not re.search(r"allow(POST|PUT|DELETE)", FILE.read_text())


def test_ten_minutes_of_lines_fit_into_one_file() -> None:
    """Alloy that waits for Loki gets over one rotation: 200 requests a second at `debug`, 3.1 kB of file for each."""
    for service in SERVICES.values():
        if service.get("labels", {}).get("logging") == "alloy":
            size, files = service["logging"]["options"].values()
            assert int(size.removesuffix("m")) * 1e6 > 600 * 200 * 3100
            assert int(files) >= 2


def test_what_hangs_is_unhealthy_within_30_s() -> None:
    """The last of the failed checks ends that much after the first one began, at most."""
    for service in SERVICES.values():
        check = service["healthcheck"]
        interval, timeout = (int(check[name].removesuffix("s")) for name in ("interval", "timeout"))
        assert (interval + timeout) * check["retries"] + interval <= 30


def test_there_is_no_password() -> None:
    """None that is known, and none to fill in."""
    environments = {
        f"{key}={value}" for service in SERVICES.values() for key, value in service.get("environment", {}).items()
    }
    secrets = {entry for entry in environments if re.search("PASSWORD|SECRET|TOKEN|KEY=", entry)}

    assert {"POSTGRES_PASSWORD_FILE=/proc/sys/kernel/random/uuid"} == secrets
    assert "secrets" not in compose()


def test_lines_of_the_log_store_are_not_collected() -> None:
    """They would feed on themselves."""
    collected = {name for name, service in SERVICES.items() if service.get("labels", {}).get("logging") == "alloy"}

    assert {"api", "payments", "loadtest"} == collected
