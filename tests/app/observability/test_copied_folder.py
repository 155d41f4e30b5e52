"""The folder works in another project, as the README describes."""

import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from app import observability
from tests import readme
from tests.emitted import parse
from tests.processes import Processes, free_port

FOLDER = Path(observability.__file__).parent

PLAIN_ASGI = """
import sys
from observability import ObservabilityMiddleware, configure_logging

async def respond(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"ok"})

configure_logging("shop")
app = ObservabilityMiddleware(respond, routes={"/things/7"})

files = {name.partition(".")[0]: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}
imported = {name for name, file in files.items() if "site-packages" in file} - {"_distutils_hack"}  # imported by pip
assert imported == {"orjson", "prometheus_client", "pythonjsonlogger"}, imported
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Create a project with a copy of the folder."""
    shutil.copytree(FOLDER, tmp_path / "observability", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_service_of_the_readme(project: Path) -> None:
    """With uvicorn's own command, the output is JSON, and a request has one line with its trace id and its route."""
    (project / "service.py").write_text(readme.service())
    port = free_port()
    with Processes(project) as processes:
        command = [sys.executable, "-m", "uvicorn", "service:app", "--app-dir", str(project), "--port", str(port)]
        processes.start("shop", command)
        processes.wait_until_ready("shop", f"http://127.0.0.1:{port}/things/7")
        response = httpx2.get(
            f"http://127.0.0.1:{port}/things/7?token=hunter2", headers={"X-Request-ID": "mine"}, timeout=30
        )
        processes.stop("shop")
        output = processes.output("shop").read_text()
        errors = processes.errors("shop").read_text()

    finished = [line for line in parse(output) if line["trace_id"] == "mine" and "event" in line]
    assert [("shop", "request.finished", "/things/{thing_id}", 200)] == [
        (line["service"], line["event"], line["route"], line["status"]) for line in finished
    ]
    assert (200, "mine", "") == (response.status_code, response.headers["x-trace-id"], errors)
    assert "hunter2" not in output


def test_only_declared_packages_are_imported(project: Path) -> None:
    """Without a framework, these are python-json-logger, orjson and prometheus-client."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PLAIN_ASGI], cwd=project, env={}, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_type_hints_are_shipped() -> None:
    """The marker of PEP 561 makes them visible to the type checker of another project."""
    assert (FOLDER / "py.typed").exists()
