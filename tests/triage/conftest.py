"""Fixtures: the command line, a fake server, and a store of generated lines."""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.triage.fake_servers import FakeServer, fake_server
from tests.triage.fake_service import Line, write
from triage import cli
from triage.stores.jsonl import JsonlStore

RunCli = Callable[..., tuple[int, str, str]]
StoreLines = Callable[[Iterable[Line]], JsonlStore]


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCli:
    """Return a function that runs a command and returns its exit code, stdout and stderr."""
    for server in ("LOKI", "PROMETHEUS"):
        monkeypatch.setenv(f"{server}_URL", "http://127.0.0.1:1")  # not a stack that happens to run here

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["triage", *map(str, words)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        out, err = capsys.readouterr()
        return int(exited.value.code or 0), out, err

    return run


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def store_lines(tmp_path: Path) -> StoreLines:
    """Return a function that writes lines to a file and returns a store of it."""
    number = itertools.count()
    return lambda lines: JsonlStore([write(tmp_path / f"stored-{next(number)}.jsonl", lines)])
