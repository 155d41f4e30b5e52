"""A service with a copy of the folder is added to the stack as the README section "Add your service" describes."""

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from tests import readme
from tests.stack import stores
from tests.stack.native import ROOT, NativeStack, Stack
from tests.waiting import wait_for


@pytest.fixture
def shop(stack: Stack, native: NativeStack | None, tmp_path: Path) -> Iterator[str]:
    """Start the service of the README, and add the scrape file of the README, with this service's address."""
    if native is None:
        pytest.skip("adding a service to a running compose stack needs its files changed: run without STACK=up")
    shutil.copytree(ROOT / "app" / "observability", tmp_path / "observability")
    (tmp_path / "service.py").write_text(readme.service())
    url = native.url("shop")
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(tmp_path), "service:app"]
    native.services.start(
        "shop", [*command, "--port", url.rpartition(":")[2]], {"INSTANCE": url.removeprefix("http://")}
    )
    native.services.wait_until_ready("shop", f"{url}/metrics")
    (scrape,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (job,) = yaml.safe_load(scrape)["scrape_configs"]
    assert stack.prometheus == native.url("prometheus")
    native.scrape("shop", job)
    yield url
    native.services.stop("shop")


def test_your_service_is_on_the_dashboards(shop: str, stack: Stack) -> None:
    """The new service is in the variable `service`, and its exemplars have lines, without changes to a dashboard."""
    dashboard = ROOT / "grafana/dashboards/service.json"
    (variable,) = [
        entry for entry in json.loads(dashboard.read_text())["templating"]["list"] if entry["name"] == "service"
    ]
    (metric, label) = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])[0]
    since = time.time()

    def find_exemplar() -> stores.Exemplar | None:
        httpx2.get(f"{shop}/things/7").raise_for_status()
        found = [exemplar for exemplar in stores.exemplars(stack.prometheus, since) if exemplar.series["job"] == "shop"]
        return found[0] if found else None

    exemplar = wait_for(find_exemplar, "an exemplar of the shop", seconds=60)
    assert "shop" in {found["metric"][label] for found in stores.query(stack.prometheus, f"{metric}")}
    lines = wait_for(lambda: stores.lines_of(stack.loki, exemplar.labels["trace_id"]), "its lines")
    assert {"shop"} == {line.labels["service_name"] for line in lines}
    assert {exemplar.series["instance"]} == {line.fields["instance"] for line in lines}
    assert 7 in {line.fields.get("thing_id") for line in lines}
