"""The folder can be copied into another project."""

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "app" / "observability"

SERVICE = """
import asyncio, sys
from lifted import Observability, configure_logging

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"ok"})

observability = Observability("lifted", routes={"/"})
configure_logging(observability)
scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
async def receive(): return {"type": "http.request"}
async def send(_): ...
asyncio.run(observability.wrap(app)(scope, receive, send))
assert not {"app", "fastapi", "starlette", "sqlalchemy", "httpx2", "pydantic"} & set(sys.modules)
"""


def test_the_folder_works_alone(tmp_path: Path) -> None:
    """Copied under another name, it observes a raw application and pulls in no framework and nothing of ours."""
    shutil.copytree(FOLDER, tmp_path / "lifted")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", SERVICE], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert '"event":"request.finished"' in done.stdout
