"""docker-compose.yml: ports on loopback only, no required settings, no privileges, and pinned images."""

import re
import subprocess
from pathlib import Path
from typing import Any

from tests.compose import FILE, compose, max_connections, pool_size

SERVICES: dict[str, dict[str, Any]] = {
    name: service for name, service in compose()["services"].items() if "extends" not in service
}


def test_containers_are_hardened() -> None:
    """Containers have no privileges, a read-only root file system, and limits on processes, memory, CPU and logs."""
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert {"pids_limit", "mem_limit", "cpus"} <= service.keys(), name
        assert {"max-size", "max-file"} == service["logging"]["options"].keys(), name
        assert not {"privileged", "network_mode"} & service.keys(), name


def test_only_the_proxy_is_root() -> None:
    """Only the proxy runs as root, to open the Docker socket; the project's image sets a numeric user."""
    users = {name: service["user"] for name, service in SERVICES.items() if "build" not in service}
    assert "0:0" == users.pop("docker-socket-proxy")
    assert all(re.fullmatch(r"[1-9]\d*:\d+", user) for user in users.values())
    assert re.search(r"^USER [1-9]\d*", (FILE.parent / "Dockerfile").read_text(), re.MULTILINE)


def test_only_the_proxy_has_the_docker_socket() -> None:
    """The proxy shares an internal network only with Alloy, and allows only read requests."""
    socket = [name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes"))]
    network = [name for name, service in SERVICES.items() if "docker-api" in service.get("networks", [])]

    assert ["docker-socket-proxy"] == socket
    assert ["docker-socket-proxy", "alloy"] == network
    assert compose()["networks"]["docker-api"]["internal"] is True
    assert not re.search(r"allow(POST|PUT|DELETE)", FILE.read_text())


def test_image_of_a_checkout_with_a_strict_umask(tmp_path: Path) -> None:
    """The code in the image is readable for its user, also if the checkout has a umask of 077."""
    dockerfile = (FILE.parent / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE)
    for name in copied:
        module = tmp_path / name / "module.py"
        module.parent.mkdir(mode=0o700)
        module.touch(mode=0o600)
    (command,) = re.findall(r"^RUN (chmod .*) && ", dockerfile, re.MULTILINE)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)  # noqa: S602 - a line of our Dockerfile
    assert copied
    for name in copied:
        assert 0o755 == (tmp_path / name).stat().st_mode & 0o777
        assert 0o644 == (tmp_path / name / "module.py").stat().st_mode & 0o777


def test_mounted_files_are_checked() -> None:
    """The tour sees all folders of the checkout that other containers mount, and reports files they cannot read."""
    mounted = {
        Path(volume).parts[0].partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    }
    tour = SERVICES["tour"]
    assert {f"./{name}:/checkout/{name}:ro" for name in mounted} == set(tour["volumes"])
    assert ["--checkout", "/checkout"] == tour["command"][-2:]


def test_ports_are_on_loopback_and_configurable() -> None:
    """Ports are reachable only from this machine, and each can be changed with an environment variable."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert [] == [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+", port)]


def test_images_are_pinned() -> None:
    """Every image has a tag with a version, except the one that is built here."""
    images = {service["image"] for service in SERVICES.values()} - {"spike-to-log:local"}

    assert [] == [image for image in images if not re.search(r":v?\d+\.\d+(\.\d+)?", image)]


def test_no_proxies() -> None:
    """Proxies that Docker passes to every container are empty: they do not reach other containers."""
    assert {"no-proxy.env"} == {service["env_file"] for service in SERVICES.values()}
    assert [] == [name for service in SERVICES.values() for name in service.get("environment", {}) if "PROXY" in name]
    variables = (FILE.parent / "no-proxy.env").read_text().splitlines()
    proxies = {f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "FTP", "ALL")}
    assert {f"{name}=" for proxy in proxies for name in (proxy, proxy.lower())} == set(variables[3:])


def test_no_passwords() -> None:
    """There are no passwords in the file, and none is required."""
    environments = {
        f"{key}={value}" for service in SERVICES.values() for key, value in service.get("environment", {}).items()
    }
    secrets = {entry for entry in environments if re.search("PASSWORD|SECRET|TOKEN|KEY=|://[^/]*:[^/]*@", entry)}

    assert {"POSTGRES_PASSWORD_FILE=/proc/sys/kernel/random/uuid"} == secrets
    assert "secrets" not in compose()


def test_dependencies_are_healthy_first() -> None:
    """Every container has a health check, and starts after its dependencies are healthy."""
    for name, service in SERVICES.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        conditions = {dependency["condition"] for dependency in service.get("depends_on", {}).values()}
        assert conditions <= {"service_healthy"}, name


def test_hanging_container_is_unhealthy_within_30_s() -> None:
    """All tries of the health check end within 30 seconds: each waits for the interval, and then for the time-out."""
    for name, service in compose()["services"].items():
        base = SERVICES.get(service.get("extends", {}).get("service"), {})
        check = {**base.get("healthcheck", {}), **service["healthcheck"]}
        interval, timeout = (int(check[key].removesuffix("s")) for key in ("interval", "timeout"))
        assert (interval + timeout) * check["retries"] <= 30, name


def test_health_checks_start_no_python() -> None:
    """A check that starts Python takes half as much CPU time again, of each of many replicas."""
    assert [] == [name for name, service in SERVICES.items() if "python" in service["healthcheck"]["test"]]


def test_50_replicas_can_use_all_connections_of_their_pools() -> None:
    """PostgreSQL accepts the whole pools of 50 replicas and ten more connections, and may start a process for each."""
    postgres = compose()["services"]["postgres"]
    maximum = max_connections(postgres["command"])
    assert pool_size("api") + 49 * pool_size("api-replica") + 10 <= maximum
    assert maximum + 20 <= postgres["pids_limit"]  # it also runs processes without a connection


def test_only_the_services_of_the_project_are_collected() -> None:
    """Alloy does not collect the lines of Loki and Alloy, which would create more lines."""
    collected = {name for name, service in SERVICES.items() if service.get("labels", {}).get("logging") == "alloy"}

    assert {"api", "payments", "loadtest"} == collected


def test_one_log_file_holds_ten_minutes() -> None:
    """Alloy can catch up after one rotation: 200 requests per second at `debug` write 3.1 kB each."""
    for service in SERVICES.values():
        if service.get("labels", {}).get("logging") == "alloy":
            size, files = service["logging"]["options"].values()
            assert int(size.removesuffix("m")) * 1e6 > 600 * 200 * 3100
            assert int(files) >= 2
