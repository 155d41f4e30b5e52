"""What a person types, and servers that answer what a test says."""

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.triage.answering import Answering, answering
from triage import cli

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command; return its exit code, stdout and stderr."""
    for server in ("LOKI", "PROMETHEUS"):
        monkeypatch.setenv(f"{server}_URL", "http://127.0.0.1:1")  # not a stack that happens to run

    def type_it(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["triage", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return type_it


@pytest.fixture
def servers() -> Iterator[Answering]:
    with answering() as told:
        yield told
