"""Three replicas of Loki on object storage, with the values of its Helm chart: one may fail, and no line is lost.

The object storage is versitygw, which `scripts/servers versitygw` builds. In place of the Service, nginx sends requests
to all three replicas, also to one that is down.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.load import locust
from tests.postgres import start_postgres
from tests.processes import Processes, free_port
from tests.stack import comparison, stores
from tests.stack.native import REPLICAS, ROOT, SERVICES, NativeStack, server
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(os.environ.get("STACK") == "up", reason="starts a separate native stack")

LOKIS = ("loki-0", "loki-1", "loki-2")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-test-test"}
QUERY = '/loki/api/v1/query?query=sum(count_over_time({service_name=~".%2B"}[1m]))'
VALUES = yaml.safe_load((ROOT / "deploy/kubernetes/helm/loki.yaml").read_text())["loki"]


class LokiReplicas(NativeStack):
    """A native stack with three replicas of Loki, which share a bucket."""

    def __init__(self) -> None:
        """Create the folders, and choose the ports of gossip."""
        super().__init__(quick_rules=True)
        self._gossip = {name: free_port() for name in LOKIS}

    def start_bucket(self) -> None:
        """Start the object storage with an empty bucket, which is a folder."""
        program = server("versitygw")
        self.bucket.mkdir(parents=True)
        (self.folder / "metadata-of-s3").mkdir()
        command: list[str | Path] = [
            program, "--access", CREDENTIALS["AWS_ACCESS_KEY_ID"], "--secret", CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            "--region", VALUES["storage"]["s3"]["region"], "--port", self._address("s3"), "--quiet",
            "posix", "--sidecar", self.folder / "metadata-of-s3", self.bucket.parent,
        ]  # fmt: skip
        self.servers.start("s3", command)
        self.servers.wait_until_ready("s3", self.url("s3"), status=403)

    @property
    def bucket(self) -> Path:
        """The folder with the stored objects."""
        return self.folder.joinpath("s3", VALUES["storage"]["bucketNames"]["chunks"])

    def start_replica(self, name: str) -> None:
        """Start one replica of Loki, without waiting."""
        file = self.folder / f"{name}.yml"
        file.write_text(json.dumps(self._configuration(name)))  # JSON is YAML
        self.servers.start(name, [server("loki"), "-target=all", f"-config.file={file}"], CREDENTIALS)

    def wait_until_ready(self, *names: str) -> None:
        """Wait until these replicas accept lines, which takes 15 s from the first time that they are asked."""

        def look() -> bool:
            ready = [is_success(f"{self.url(name)}/ready") for name in names]
            return all(ready)

        wait_for(look, f"{names} to be ready", 120)

    def start_balancer(self) -> None:
        """Start what stands in for the Service `loki`."""
        if not (nginx := shutil.which("nginx")):
            pytest.skip("nginx is not installed")
        replicas = " ".join(f"server {self._address(name)} max_fails=0;" for name in LOKIS)
        file = self.folder / "balancer.conf"
        file.write_text(
            f"pid {self.folder}/balancer.pid; error_log stderr; events {{}} http {{ access_log off; "
            f"client_max_body_size 50m; client_body_temp_path {self.folder}/balancer; "
            f"upstream replicas {{ {replicas} }} server {{ listen {self._address('loki')}; location / {{ "
            "proxy_pass http://replicas; proxy_next_upstream off; proxy_read_timeout 300s; } } }"
        )
        self.servers.start("balancer", [nginx, "-c", file, "-g", "daemon off;"])

    def _configuration(self, name: str) -> dict[str, Any]:
        """Return the configuration that the chart makes of its values, with other addresses and folders."""
        data = f"{self.folder}/{name}"
        _, http_port = self._address(name).split(":")
        self._copy_rules("loki/rules", "loki-rules")
        remote = {"prometheus": {"url": f"{self.url('prometheus')}/api/v1/write"}}
        s3 = {
            "bucketnames": VALUES["storage"]["bucketNames"]["chunks"],
            "region": VALUES["storage"]["s3"]["region"],
            "endpoint": self.url("s3"),
            "s3forcepathstyle": True,
            "insecure": True,
        }
        return {
            "auth_enabled": VALUES["auth_enabled"],
            "server": {
                **VALUES["server"],
                "http_listen_address": "127.0.0.1",
                "http_listen_port": int(http_port),
                "grpc_listen_address": "127.0.0.1",
                "grpc_listen_port": int(self._address(f"{name}-grpc").split(":")[1]),
                "grpc_server_max_recv_msg_size": 100 << 20,
                "grpc_server_max_send_msg_size": 100 << 20,
            },
            "common": {
                **VALUES["commonConfig"],
                "path_prefix": data,
                "instance_addr": "127.0.0.1",
                "compactor_grpc_address": self._address("loki-0-grpc"),
                "storage": {"s3": s3},
                "ring": {"instance_id": name, "instance_addr": "127.0.0.1", "kvstore": {"store": "memberlist"}},
            },
            "memberlist": {
                "node_name": name,
                "bind_addr": ["127.0.0.1"],
                "bind_port": self._gossip[name],
                "advertise_addr": "127.0.0.1",
                "advertise_port": self._gossip[name],
                "join_members": [f"127.0.0.1:{port}" for port in self._gossip.values()],
            },
            "ingester": VALUES["ingester"],
            "limits_config": VALUES["limits_config"],
            "schema_config": VALUES["schemaConfig"],
            "ruler": {
                **VALUES["rulerConfig"],
                "storage": {"type": "local", "local": {"directory": f"{self.folder}/loki-rules"}},
                "rule_path": f"{data}/rules-read",
                "wal": {"dir": f"{data}/rules-wal"},
                "remote_write": {**VALUES["rulerConfig"]["remote_write"], "clients": remote},
            },
            "compactor": VALUES["compactor"],
            "analytics": VALUES["analytics"],
        }


@pytest.fixture
def replicas() -> Iterator[LokiReplicas]:
    """Run the services, Alloy, Prometheus, and three replicas of Loki."""
    with LokiReplicas() as native:
        native.start_bucket()
        for name in LOKIS:
            native.start_replica(name)
        native.start_services(start_postgres(native.servers))
        native.start_prometheus()
        native.wait_until_ready(*LOKIS)
        native.start_balancer()
        native.start_alloy()
        yield native


def test_replicas_are_killed(replicas: LokiReplicas, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the three is killed under load. Each of them then shows every line once, also from the bucket."""
    began = time.time() - 60
    with Processes(tmp_path) as processes:
        for number, name in enumerate(REPLICAS):
            processes.start(f"load-{number}", locust(replicas.url(name), 10, 100, "--stop-timeout", "15"))
        time.sleep(5)
        for name in LOKIS:
            replicas.servers.kill(name)
            killed = time.monotonic()
            for other in LOKIS:
                if other != name:
                    wait_for(partial(is_success, f"{replicas.url(other)}{QUERY}"), f"an answer of {other}")
            answered = time.monotonic() - killed
            time.sleep(10)
            replicas.start_replica(name)
            replicas.wait_until_ready(name)
            with capsys.disabled():
                print(f"\n{name}: the others answered {answered:.1f} s after the kill, it was ready again "
                      f"{time.monotonic() - killed:.0f} s after it")  # fmt: skip
        time.sleep(5)

    lines = [line for name in SERVICES for line in replicas.services.output(name).read_text().splitlines()]
    assert len(lines) > 10_000
    comparison.wait_until_settled(*map(replicas.url, LOKIS))
    for stored in ("in memory", "in the bucket"):
        for name in LOKIS:
            now, url = time.time(), replicas.url(name)
            shown = comparison.stored_lines(url, comparison.OURS, began, now)
            found = comparison.compare(lines, shown, comparison.counted_lines(url, comparison.OURS, began, now))
            with capsys.disabled():
                print(f"{stored}, asked {name}: {found}")
            assert found.equal
            assert 0 == found.recounted
        # The share of stored lines on the dashboards: the three rulers count each line once.
        wait_for(partial(all_lines_count_once, replicas.url("prometheus")), "a share of 1")
        for name in LOKIS:
            httpx2.post(f"{replicas.url(name)}/flush", timeout=60).raise_for_status()
        wait_for(lambda: list(replicas.bucket.glob("fake/*/*")), "objects in the bucket")


def all_lines_count_once(prometheus: str) -> bool:
    """Return whether the share of stored lines is exactly 1 for both services."""
    shares = stores.query(prometheus, "job:log_lines_stored:ratio10m")
    return {("api", "1"), ("payments", "1")} == {(each["metric"]["job"], each["value"][1]) for each in shares}


def is_success(url: str) -> bool:
    """Return whether a server responds at `url`, and not with an error."""
    try:
        return httpx2.get(url, timeout=10).is_success
    except httpx2.HTTPError:
        return False
