"""A service of somebody else's, with the folder and two files of configuration: "Add your service" of the README."""

import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.processes import free_port
from tests.stack import stores
from tests.stack.native import ROOT, NativeStack, Stack
from tests.waiting import eventually

README = (ROOT / "README.md").read_text()


@pytest.fixture
def shop(stack: Stack, native: NativeStack | None, tmp_path: Path) -> Iterator[str]:
    """Start the service of the README, and add the scrape file of the README, with this service's address."""
    if native is None:
        pytest.skip("adding a service to a running compose stack needs its files changed: run without STACK=up")
    shutil.copytree(ROOT / "app" / "observability", tmp_path / "observability")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "service.py").write_text(str(code))
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(tmp_path), "service:app", "--port", str(port)]
    native.services.start("shop", command)
    native.services.answers("shop", f"http://127.0.0.1:{port}/metrics")
    (scrape,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", README, re.DOTALL)
    config = yaml.safe_load(scrape)
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    assert stack.prometheus == native.url("prometheus")
    (native.folder / "prometheus" / "scrape" / "shop.yml").write_text(json.dumps(config))
    native.servers.signal("prometheus", signal.SIGHUP)
    yield f"http://127.0.0.1:{port}"
    native.services.stop("shop")


def test_your_service_is_on_the_dashboards(shop: str, stack: Stack) -> None:
    """The box `service` has it, and its dots lead to its lines, without an edit of a dashboard."""
    (dashboard,) = (ROOT / "grafana/dashboards").glob("service.json")
    (box,) = [entry for entry in json.loads(dashboard.read_text())["templating"]["list"] if entry["name"] == "service"]
    (metric, label) = re.findall(r"label_values\((\w+), (\w+)\)", box["query"]["query"])[0]
    since = time.time()

    def dot() -> stores.Exemplar | None:
        httpx2.get(f"{shop}/things/7").raise_for_status()
        found = [exemplar for exemplar in stores.exemplars(stack.prometheus, since) if exemplar.series["job"] == "shop"]
        return found[0] if found else None

    exemplar = eventually(dot, "a dot of the shop", seconds=60)
    assert "shop" in {found["metric"][label] for found in stores.query(stack.prometheus, f"{metric}")}
    lines = eventually(lambda: stores.lines_of(stack.loki, exemplar.labels["trace_id"]), "its lines")
    assert {"shop"} == {line.labels["service_name"] for line in lines}
    assert 7 in {line.fields.get("thing_id") for line in lines}
