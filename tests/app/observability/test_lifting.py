"""The folder can be copied into another project."""

import ast
import json
import logging
import re
import shutil
import statistics
import subprocess
import sys
import threading
import warnings
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest

from app import observability
from app.observability.testing import capture_logs
from tests.emitted import parse
from tests.processes import Processes, free_port

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "app" / "observability"
MODULES = {path.stem: ast.parse(path.read_text()) for path in FOLDER.glob("*.py")}

RAW = """
from observability import Observability, configure_logging

async def answer(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"ok"})

observability = Observability("shop", routes={"/things/7"})
configure_logging(observability)
app = observability.wrap(answer)
"""

STARLETTE = """
from observability import Observability, configure_logging
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def thing(request):
    return PlainTextResponse("ok")

observability = Observability("shop", routes={"/things/{thing_id}"})
configure_logging(observability)
app = observability.wrap(Starlette(routes=[Route("/things/{thing_id}", thing)]))
"""


def readme() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(code)


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    shutil.copytree(FOLDER, tmp_path / "observability", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("code", "route"),
    [
        pytest.param(readme(), "/things/{thing_id}", id="FastAPI, as in the README"),
        pytest.param(STARLETTE, "/things/{thing_id}", id="Starlette"),
        pytest.param(RAW, "/things/7", id="raw"),
    ],
)
def test_it_is_lifted_as_the_readme_says(beside: Path, code: str, route: str) -> None:
    """Served by uvicorn's own command: every line is JSON, the request's has its route, the response has the id."""
    (beside / "service.py").write_text(code)
    port = free_port()
    with Processes(beside) as processes:
        command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--app-dir", str(beside)]
        processes.start("shop", command, {"PYTHONPATH": str(beside)})
        processes.answers("shop", f"http://127.0.0.1:{port}/things/7")
        response = httpx2.get(f"http://127.0.0.1:{port}/things/7?token=hunter2", headers={"X-Request-ID": "mine"})
        processes.stop("shop")
        lines = parse(processes.output("shop").read_text())
        errors = processes.errors("shop").read_text()

    (finished,) = [line for line in lines if line["trace_id"] == "mine" and line.get("event") == "request.finished"]
    assert (200, "mine", "") == (response.status_code, response.headers["x-trace-id"], errors)
    assert ("shop", route) == (finished["service"], finished["route"])
    assert "hunter2" not in json.dumps(lines)


def test_it_pulls_in_nothing_but_what_it_names(beside: Path) -> None:
    """A raw application needs no framework: of other people's modules, only the declared two are imported."""
    code = f"""{RAW}
import sys
files = {{name.partition(".")[0]: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}}
others = {{name for name, file in files.items() if "site-packages" in file}} - {{"_distutils_hack"}}  # pip's own
assert others <= {{"orjson", "prometheus_client"}}, others
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=beside, env={}, capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_it_can_be_tested_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """`capture_logs` gives lines and samples of a fresh registry, and leaves logging as it was."""
    monkeypatch.setattr("prometheus_client.REGISTRY", None)
    before = _logging_as_it_is()
    with capture_logs() as captured:
        assert before != _logging_as_it_is()
        captured.observability.metrics.reject_id("because")
        observability.annotate(ignored="outside a request")
        sys.excepthook(ValueError, ValueError("hunter2"), None)

    assert ["Uncaught exception"] == [line["message"] for line in captured.lines(level="critical")]
    assert 1 == captured.value("request_ids_rejected_total", reason="because")
    assert before == _logging_as_it_is()


def _logging_as_it_is() -> list[object]:
    loggers = [logging.getLogger(name) for name in ("", "py.warnings", "uvicorn", "uvicorn.error", "uvicorn.access")]
    return [
        *((each.handlers[:], each.filters[:], each.level, each.propagate) for each in loggers),
        *(sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning, logging.Logger.makeRecord),
    ]


def test_everything_public_is_explained() -> None:
    """Every name of the facade has a docstring, but for constants and types."""
    public = [getattr(observability, name) for name in observability.__all__]
    assert sorted(observability.__all__, key=lambda name: (not name.isupper(), name)) == observability.__all__
    assert [] == [each for each in public if callable(each) and not each.__doc__]
    assert (FOLDER / "py.typed").exists()


def test_it_is_small_enough_to_be_read() -> None:
    """No module above 150 lines, short functions, and no circle of imports."""
    assert [] == [path.name for path in FOLDER.glob("*.py") if len(path.read_text().splitlines()) > 150]
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for module in MODULES.values()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert statistics.median(lengths) <= 8
    assert lengths[int(len(lengths) * 0.9)] <= 28
    imports = {
        name: {
            node.module for node in ast.walk(module) if isinstance(node, ast.ImportFrom) and node.level and node.module
        }
        for name, module in MODULES.items()
    }
    order = list(TopologicalSorter(imports).static_order())  # raises where there is a circle
    assert all(first != second for first, second in pairwise(order))
