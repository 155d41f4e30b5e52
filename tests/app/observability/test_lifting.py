"""The folder works in another project, as the README describes."""

import logging
import shutil
import subprocess
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx2
import pytest
from fastapi import Depends
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Counter

from app import observability
from app.observability import ObservabilityMiddleware, fastapi, testing
from app.observability.fastapi import ObservedFastAPI
from app.observability.testing import capture_logs, metric_value
from tests import readme
from tests.emitted import parse
from tests.processes import Processes, free_port

FOLDER = Path(observability.__file__).parent

STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from observability import ObservabilityMiddleware, configure_logging

async def get_thing(request):
    return PlainTextResponse("ok")

configure_logging("shop")
app = ObservabilityMiddleware(Starlette(routes=[Route("/things/{thing_id}", get_thing)]))
"""

RAW = """
from observability import ObservabilityMiddleware, configure_logging

async def respond(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"ok"})

configure_logging("shop")
app = ObservabilityMiddleware(respond, routes={"/things/7"})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make another project with a copy of the folder."""
    shutil.copytree(FOLDER, tmp_path / "observability", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("code", "route"),
    [
        pytest.param(readme.service(), "/things/{thing_id}", id="FastAPI, as in the README"),
        pytest.param(STARLETTE, "/things/{thing_id}", id="Starlette"),
        pytest.param(RAW, "/things/7", id="raw ASGI"),
    ],
)
def test_copied_folder_serves(project: Path, code: str, route: str) -> None:
    """Under uvicorn's own command, every line is JSON, and one request has one line with its id and its route."""
    (project / "service.py").write_text(code)
    port = free_port()
    with Processes(project) as processes:
        command = [sys.executable, "-m", "uvicorn", "service:app", "--app-dir", str(project), "--port", str(port)]
        processes.start("shop", command)
        processes.answers("shop", f"http://127.0.0.1:{port}/things/7")
        response = httpx2.get(f"http://127.0.0.1:{port}/things/7?token=hunter2", headers={"X-Request-ID": "mine"})
        processes.stop("shop")
        output = processes.output("shop").read_text()
        errors = processes.errors("shop").read_text()

    finished = [line for line in parse(output) if line["trace_id"] == "mine" and "event" in line]
    assert [("shop", "request.finished", route, 200)] == [
        (line["service"], line["event"], line["route"], line["status"]) for line in finished
    ]
    assert (200, "mine", "") == (response.status_code, response.headers["x-trace-id"], errors)
    assert "hunter2" not in output


def test_observed_fastapi_is_a_fastapi_application() -> None:
    """`TestClient` and `dependency_overrides` work, and the response to an unhandled error has the id of its lines."""

    def load_name() -> str:
        raise NotImplementedError

    app = ObservedFastAPI(observability=partial(ObservabilityMiddleware, registry=CollectorRegistry()))

    @app.get("/name")
    def get_name(name: Annotated[str, Depends(load_name)]) -> str:
        return name

    with capture_logs() as captured, TestClient(app, raise_server_exceptions=False) as client:
        failed = client.get("/name")
        app.dependency_overrides[load_name] = lambda: "Ada"
        assert "Ada" == client.get("/name").json()

    assert 500 == failed.status_code
    lines = captured.lines(trace_id=failed.headers["x-trace-id"])
    assert ["request.failed", "request.finished"] == sorted(line["event"] for line in lines)


def test_raw_application_imports_only_declared_packages(project: Path) -> None:
    """Without FastAPI, the folder imports python-json-logger, orjson and prometheus-client, and nothing else."""
    code = f"""{RAW}
import sys
files = {{name.partition(".")[0]: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}}
imported = {{name for name, file in files.items() if "site-packages" in file}} - {{"_distutils_hack"}}  # pip's own
assert imported == {{"orjson", "prometheus_client", "pythonjsonlogger"}}, imported
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=project, env={}, capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_capture_logs_restores_logging() -> None:
    """`capture_logs` collects the lines of a block, `metric_value` reads a sample, and logging is as before."""
    registry = CollectorRegistry()
    before = _logging_state()
    with capture_logs() as captured:
        assert before != _logging_state()
        logging.getLogger("shop").warning("Stock is low", extra={"stock": 2})
        Counter("orders", "Orders placed.", ["kind"], registry=registry).labels("mug").inc()

    assert ["Stock is low"] == [line["message"] for line in captured.lines(level="warning", stock=2)]
    assert [] == captured.lines(level="error")
    assert 1 == metric_value("orders_total", registry, kind="mug")
    assert before == _logging_state()


def _logging_state() -> list[object]:
    loggers = [logging.getLogger(name) for name in ("", "py.warnings", "uvicorn", "uvicorn.error", "uvicorn.access")]
    return [
        *((each.handlers[:], each.filters[:], each.level, each.propagate) for each in loggers),
        *(sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning),
        logging.getLogRecordFactory(),
    ]


def test_public_names_have_docstrings() -> None:
    """Every public function and class has a docstring, and so do the methods of the classes; types are shipped."""
    assert sorted(observability.__all__, key=lambda name: (not name.isupper(), name)) == observability.__all__
    public = [getattr(observability, name) for name in observability.__all__]
    public += [fastapi, fastapi.ObservedFastAPI, testing, testing.capture_logs, testing.metric_value]
    methods = [
        method
        for cls in public
        if isinstance(cls, type)
        for name, method in vars(cls).items()
        if callable(method) and not name.startswith("_")
    ]
    assert [] == [each for each in [*public, *methods] if callable(each) and not each.__doc__]
    assert (FOLDER / "py.typed").exists()
