"""A project that has a copy of observability/: its programs and services are real processes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.emitted import Line, parse
from tests.processes import Processes, free_port
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "integrations.md"


def sections() -> dict[str, str]:
    """Return the sections of docs/integrations.md by their headings."""
    return dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def examples(section: str) -> list[str]:
    """Return the code blocks of a section."""
    return re.findall(r"^```python\n(.*?)^```$", sections()[section], re.MULTILINE | re.DOTALL)


def example(section: str, number: int = 1) -> str:
    """Return one code block of a section."""
    return examples(section)[number - 1]


@dataclass
class Service:
    """A service that runs behind uvicorn."""

    url: str
    client: httpx2.Client
    processes: Processes

    def lines(self, **fields: object) -> list[Line]:
        """Return its lines so far; with `fields`, those that have all of them."""
        lines = parse(self.processes.output("service").read_text())
        return [line for line in lines if fields.items() <= line.items()]

    def line(self, **fields: object) -> Line:
        """Wait for the one line that has these fields."""
        (line,) = wait_for(lambda: self.lines(**fields), f"a line with {fields}", 10)
        return line

    def errors(self) -> str:
        """Return what it wrote to stderr."""
        return self.processes.errors("service").read_text()


@dataclass
class Project:
    """A folder with observability/ in it."""

    folder: Path

    def __post_init__(self) -> None:
        """Put observability/ beside the programs."""
        (self.folder / "observability").symlink_to(ROOT / "app" / "observability")

    def write(self, name: str, *code: str) -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_text("\n".join(code))
        return path

    def python(self, *arguments: str | Path, code: int = 0) -> str:
        """Run Python to its end in the folder, and return its output; stderr has to stay empty."""
        done = subprocess.run(  # noqa: S603 - programs of these tests
            [sys.executable, *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (code, "") == (done.returncode, done.stderr), done.stdout
        return done.stdout

    def run(self, *program: str, code: int = 0) -> list[Line]:
        """Run a program to its end, and return the lines that it logged."""
        return parse(self.python(self.write("program.py", *program), code=code))

    @contextmanager
    def serve(self, *program: str, options: tuple[str, ...] = ()) -> Iterator[Service]:
        """Serve the `app` of a program with `uvicorn service:app`."""
        self.write("service.py", *program)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        # uvicorn closes the connection after an unhandled exception, so none is used twice.
        limits = httpx2.Limits(max_keepalive_connections=0)
        with Processes(self.folder) as processes, httpx2.Client(base_url=url, timeout=30, limits=limits) as client:
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "uvicorn",
                "service:app",
                "--app-dir",
                self.folder,
                "--port",
                str(port),
            ]
            processes.start("service", [*command, *options], env={"PYTHONPATH": str(self.folder)})
            processes.wait_until_ready("service", f"{url}/openapi.json")
            yield Service(url, client, processes)
