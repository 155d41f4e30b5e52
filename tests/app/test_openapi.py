"""The services respond as /openapi.json describes, to valid and invalid requests that Schemathesis generates."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Processes
from tests.services import Service, running

CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.fixture(scope="module")
def fault_lab(processes: Processes, payments: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run the main service with its own database."""
    database = tmp_path_factory.mktemp("openapi") / "tested.db"
    settings = {"DATABASE_URL": f"sqlite:///{database}", "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    with running(processes, "api", settings, "api-openapi") as service:
        yield service


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("fault_lab", ["--exclude-path", "/faults"], id="api"),
        # Separately, because it starts faults, which cause the other routes to fail.
        pytest.param("fault_lab", ["--include-path", "/faults"], id="faults"),
        pytest.param("payments", [], id="payments"),
    ],
)
def test_responses_conform_to_the_schema(
    name: str, options: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Status codes, content types, bodies, Allow headers; valid requests are accepted and invalid ones rejected."""
    service: Service = request.getfixturevalue(name)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG), "--no-color",
        "run", f"{service.url}/openapi.json", "--header", "X-Fault-Lab: tests", *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603

    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_allow_header_has_all_methods(payments: Service, fault_lab: Service) -> None:
    """Of a route for each method; without them, only those of the first route."""
    assert "GET, POST" == fault_lab.client.put("/users").headers["allow"]
    assert "GET, POST, DELETE" == fault_lab.client.put("/faults").headers["allow"]
    assert "GET" == fault_lab.client.post("/users/1").headers["allow"]
    assert "POST" == payments.client.get("/charges").headers["allow"]
    assert 405 == fault_lab.client.post("/docs").status_code


def test_the_documentation_loads_only_what_the_service_has(payments: Service) -> None:
    """Swagger UI works without the internet, and no other site learns of it."""
    page = payments.client.get("/docs").text
    urls = re.findall(r"""(?:src|href)="([^"]+)"|url: '([^']+)'""", page)
    loaded = [payments.client.get(linked or schema) for linked, schema in urls]

    assert 4 == len(loaded)
    assert {(200, payments.client.base_url.host)} == {(got.status_code, got.url.host) for got in loaded}
    assert "http" not in page
    assert '"validatorUrl": null' in page
    assert 404 == payments.client.get("/redoc").status_code
