"""The stack as native processes, with the same configuration files as docker-compose.yml."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.compose import compose
from tests.postgres import start_postgres
from tests.processes import Processes, free_port, short_folder

REPLICAS = ("api", "api-2", "api-3")
SERVICES = ("payments", *REPLICAS)
#: The ports of the gateway: published ones, and those for Grafana, which may only read.
GATEWAY_PORTS = {"loki": 3100, "prometheus": 9090, "alloy": 12345}
GRAFANA_PORTS = {"loki": 3101, "prometheus": 9091}
ROOT = Path(__file__).parents[2]
SERVERS = Path(os.environ.get("SERVERS", Path.home() / ".cache" / "spike-to-log" / "servers"))


@dataclass(frozen=True)
class Stack:
    """The addresses of a running stack."""

    api: str
    prometheus: str
    loki: str
    grafana: str | None = None
    locust: str = "http://127.0.0.1:8089"

    @classmethod
    def published(cls) -> Self:
        """Return the addresses that docker-compose.yml publishes."""
        urls = published_urls()
        return cls(urls["api"], urls["prometheus"], urls["loki"], urls["grafana"], urls["locust"])


def published_urls() -> dict[str, str]:
    """Return the addresses that docker-compose.yml publishes, by the name of the server."""
    ports = {"api": 8000, "prometheus": 9090, "loki": 3100, "grafana": 3000, "locust": 8089, "alloy": 12345}
    return {name: f"http://127.0.0.1:{os.environ.get(f'{name.upper()}_PORT', port)}" for name, port in ports.items()}


def server(name: str) -> Path:
    """Return the path of a server program; skip the test if it is not installed."""
    for candidate in (SERVERS / name, shutil.which(name)):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    pytest.skip(f"{name} is neither in {SERVERS} nor on the PATH: run make servers")


class NativeStack:
    """A stack of native processes, which are stopped at the end of the `with` block."""

    def __init__(self, *, quick_rules: bool = False) -> None:
        """Create a folder for data and lines; with `quick_rules`, stored lines are counted every few seconds."""
        self._quick_rules = quick_rules
        self.folder = short_folder()
        self.lines = self.folder / "lines"
        self.lines.mkdir()
        self.services = Processes(self.lines)
        self.servers = Processes(self.folder)
        self._ports: dict[str, int] = {}
        self._settings: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Return this stack; nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything, and remove the folder."""
        self.services.__exit__(None, None, None)
        self.servers.__exit__(None, None, None)
        shutil.rmtree(self.folder)

    def start(self) -> Stack:
        """Start PostgreSQL, the services and the servers, and wait until all are ready."""
        self.start_services(start_postgres(self.servers))
        self.start_loki()
        self.start_alloy()
        self.start_prometheus()
        self.start_gateway()
        grafana = self.start_grafana()
        return Stack(self.url("api"), self.url("prometheus"), self.url("loki"), grafana)

    def url(self, name: str) -> str:
        """Return the URL of a service or server, which keeps its port when it is restarted."""
        return f"http://{self._address(name)}"

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the tour."""
        parts = ("api", "prometheus", "loki", "alloy", "grafana")
        return {f"{part.upper()}_URL": self.url(part) for part in parts}

    def _address(self, name: str) -> str:
        return f"127.0.0.1:{self._ports.setdefault(name, free_port())}"

    def start_services(self, database_url: str) -> None:
        """Start payments and three replicas of the main service."""
        self._settings = {"DATABASE_URL": database_url, "PAYMENTS_URL": self.url("payments"), "FAULTS": "on"}
        for name in SERVICES:
            self.start_service(name)
        for name in SERVICES:
            self.services.wait_until_ready(name, f"{self.url(name)}/readyz")

    def start_service(
        self, name: str, environment: Mapping[str, str] | None = None, among: Processes | None = None
    ) -> None:
        """Start a service or a replica such as `api-2`; `among` are the processes whose folder gets its lines."""
        port = self.url(name).rpartition(":")[2]
        command = [sys.executable, "-m", "app", name.partition("-")[0]]
        settings = {**self._settings, "PORT": port, "LOG_LEVEL": "debug", **(environment or {})}
        (among or self.services).start(name, command, settings)

    def start_loki(self) -> None:
        """Start Loki with the shipped configuration, but different ports and folders."""
        host, port = self._address("loki").split(":")
        command: list[str | Path] = [
            server("loki"), "-config.file", ROOT / "loki/loki.yml", "-config.expand-env=true",
            f"-server.http-listen-address={host}", f"-server.http-listen-port={port}",
            f"-server.grpc-listen-port={free_port()}",
        ]  # fmt: skip
        self._copy_rules("loki/rules", "loki-rules")
        environment = {
            "LOKI_DATA": f"{self.folder}/loki",
            "LOKI_RULES": f"{self.folder}/loki-rules",
            "PROMETHEUS_URL": self.url("prometheus"),
        }
        self.servers.start("loki", command, environment)
        self.servers.wait_until_ready("loki", f"{self.url('loki')}/ready")

    def start_alloy(
        self, source: str = "files.alloy", lines: str | None = None, launcher: Sequence[str | Path] = ()
    ) -> None:
        """Start Alloy with the shipped pipeline, which reads the files `lines`; containers use a `launcher`."""
        config = self.folder / "alloy"
        config.mkdir(exist_ok=True)
        for name in ("pipeline.alloy", source):
            shutil.copy(ROOT / "alloy" / name, config)
        command: list[str | Path] = [
            *(launcher or [server("alloy")]), "run", config, f"--storage.path={self.folder}/alloy-data",
            "--disable-reporting", f"--server.http.listen-addr={self._address('alloy')}",
        ]  # fmt: skip
        environment = {
            "LOKI_URL": f"{self.url('loki')}/loki/api/v1/push",
            "LINES": lines or str(self.lines),
            # For the launcher.
            "ALLOY": str(server("alloy")),
            "STORAGE": f"{self.folder}/alloy-data",
        }
        self.servers.start("alloy", command, environment)
        self.servers.wait_until_ready("alloy", f"{self.url('alloy')}/-/ready")

    def start_prometheus(self, api: str = "api", *, exemplars: bool = True) -> None:
        """Start Prometheus with the shipped configuration; `api` replaces the name of the service in its targets."""
        config = self.folder / "prometheus"
        (config / "scrape").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "prometheus/prometheus.yml", config)
        self._copy_rules("prometheus/rules", "prometheus/rules")
        targets: dict[str, list[str]] = {}
        for name in SERVICES:
            address = self._address(name.replace("api", api))
            targets.setdefault(name.partition("-")[0], []).append(address)
        jobs = [{"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()]
        (config / "scrape" / "native.yml").write_text(json.dumps({"scrape_configs": jobs}))  # JSON is YAML
        command: list[str | Path] = [
            server("prometheus"), f"--config.file={config}/prometheus.yml", f"--storage.tsdb.path={config}/data",
            "--web.enable-remote-write-receiver", "--web.enable-otlp-receiver",
            f"--web.listen-address={self._address('prometheus')}",
            *(["--enable-feature=exemplar-storage"] if exemplars else []),
        ]  # fmt: skip
        self.servers.start("prometheus", command)
        self.servers.wait_until_ready("prometheus", f"{self.url('prometheus')}/-/ready")

    def start_tour(self) -> None:
        """Start the tour, which explains incidents."""
        self.servers.start("tour", [sys.executable, "-m", "triage", "tour"], self.environment())

    def _copy_rules(self, source: str, target: str) -> None:
        shutil.copytree(ROOT / source, self.folder / target, dirs_exist_ok=True)
        for file in (self.folder / target).rglob("lines.yml") if self._quick_rules else ():
            text = file.read_text()
            for original, quick in (("interval: 1m", "interval: 5s"), ("[2m]", "[45s]"), ("offset 3m", "offset 60s")):
                text = text.replace(original, quick)
            file.write_text(text)

    def scrape(self, name: str, job: Mapping[str, object]) -> None:
        """Add the service that was started as `name` to Prometheus, with its real address instead of that in `job`."""
        config = {"scrape_configs": [{**job, "static_configs": [{"targets": [self._address(name)]}]}]}
        file = self.folder / "prometheus" / "scrape" / f"{name}.yml"
        file.write_text(json.dumps(config))
        self.servers.signal("prometheus", signal.SIGHUP)

    def start_gateway(self) -> None:
        """Start the gateway with the shipped configuration, but different addresses; do nothing without nginx."""
        if not (nginx := shutil.which("nginx")):
            return
        config = shutil.copytree(ROOT / "gateway", self.folder / "gateway")
        servers = {f"http://{name}:{port}": self.url(name) for name, port in GATEWAY_PORTS.items()}
        ports = {
            f"listen {port}": f"listen {self._address(f'gateway-{port}')}"
            for port in (*GATEWAY_PORTS.values(), *GRAFANA_PORTS.values())
        }
        replaced = {**servers, **ports, "server_name gateway": "server_name 127.0.0.1", "/tmp/": f"{config}/"}  # noqa: S108
        for file in config.glob("*.conf"):
            text = file.read_text()
            for original, replacement in replaced.items():
                text = text.replace(original, replacement)
            file.write_text(text)
        self.servers.start("gateway", [nginx, "-c", config / "nginx.conf", "-g", "daemon off;"])
        self.servers.wait_until_ready("gateway", f"{self.gateway('loki')}/ready")

    def gateway(self, name: str) -> str:
        """Return the URL at which the gateway publishes a server."""
        return self.url(f"gateway-{GATEWAY_PORTS[name]}")

    def _for_grafana(self, name: str) -> str:
        """Return the URL at which Grafana reads: of the gateway, or of the server itself without nginx."""
        return self.url(f"gateway-{GRAFANA_PORTS[name]}" if shutil.which("nginx") else name)

    def start_grafana(self, ready: str = "/api/dashboards/uid/service", **overrides: str) -> str | None:
        """Start Grafana from `GRAFANA_HOME` with the shipped files; return None if the variable is not set.

        Wait until it responds at `ready`; `overrides` replace environment variables of docker-compose.yml.
        """
        if not (home := os.environ.get("GRAFANA_HOME")):
            return None
        host, port = self._address("grafana").split(":")
        environment = {
            **compose()["services"]["grafana"]["environment"],
            "PROMETHEUS_URL": self._for_grafana("prometheus"),
            "LOKI_URL": self._for_grafana("loki"),
            "DASHBOARDS": str(ROOT / "grafana/dashboards"),
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(ROOT / "grafana/dashboards/service.json"),
            "GF_PATHS_PROVISIONING": str(ROOT / "grafana/provisioning"),
            "GF_PATHS_DATA": f"{self.folder}/grafana",
            "GF_SERVER_ROOT_URL": f"{self.url('grafana')}/",
            "GF_SERVER_HTTP_ADDR": host,
            "GF_SERVER_HTTP_PORT": port,
            **overrides,
        }
        self.servers.start("grafana", [server("grafana"), "server", f"--homepath={home}"], environment)
        self.servers.wait_until_ready("grafana", f"{self.url('grafana')}{ready}")
        return self.url("grafana")
