"""However the demo ends, no process stays behind, and what it says is a sentence."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.__main__ import main
from tests.demo.started import Demo
from tests.emitted import parse
from tests.processes import gone
from tests.waiting import eventually

LONG = ("--duration", "120", "--users", "20")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Run a demo that would take long."""
    started = Demo(tmp_path, *LONG)
    yield started
    started.kill()


def test_it_can_be_interrupted(demo: Demo) -> None:
    """Ctrl-C: nothing stays, no process and no file, and there is no traceback."""
    children = demo.children()
    demo.signal(signal.SIGINT)

    assert 130 == demo.ends()
    assert gone(list(children.values()))
    assert "" == demo.complained
    assert [] == demo.left()


def test_it_can_be_terminated(tmp_path: Path) -> None:
    """The services are asked to stop, rather than die with the demo: what is kept ends with their last lines."""
    demo = Demo(tmp_path, *LONG, "--keep", str(tmp_path / "kept"))
    children = demo.children()
    record = tmp_path / "kept" / "requests.jsonl"
    eventually(lambda: record.exists() and record.stat().st_size, "what was sent")
    demo.signal(signal.SIGTERM)

    assert 143 == demo.ends()
    assert gone(list(children.values()))
    assert "" == demo.complained
    files = {file.stem: file.read_text() for file in (tmp_path / "kept").glob("*.jsonl")}
    assert {"api", "payments", "loadtest", "requests", "samples"} == set(files)
    lines = {name: parse(text) for name, text in files.items()}
    assert all(text.endswith("\n") for text in files.values())
    assert all(lines[name][-1].get("event") == "service.stopped" for name in ("api", "payments"))
    assert "run.stopped" in {line.get("event") for line in lines["loadtest"]}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_it_can_be_killed(demo: Demo) -> None:
    """Nobody can tell its children any more, and they end."""
    children = demo.children()
    demo.signal(signal.SIGKILL)
    demo.ends()

    eventually(lambda: gone(list(children.values())), "the end of the children")


@pytest.mark.parametrize("victim", ["api", "locust"])
def test_a_child_that_dies_is_named(demo: Demo, victim: str) -> None:
    """A sentence says which, what it last said, and where the files are; they stay."""
    children = demo.children()
    os.kill(children[victim], signal.SIGKILL)

    assert 1 == demo.ends()
    assert gone(list(children.values()))
    (folder,) = demo.left()
    name = {"locust": "loadtest"}.get(victim, victim)
    sentence = rf'{name} ended in the middle \(killed by SIGKILL\); its last line: ".+"\. The files are in {folder}\.\n'
    assert re.fullmatch(sentence, demo.complained)


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """Here a limit of the size of files, which is met in the middle of the run."""
    limited = ("sh", "-c", 'ulimit -f 200; exec "$@"', "sh")
    demo = Demo(tmp_path, *LONG, before=limited)

    assert 1 == demo.ends()
    (folder,) = demo.left()
    assert f"The files of this run cannot be written: File too large. The files are in {folder}.\n" == demo.complained


@pytest.mark.parametrize(
    "arguments",
    [["--duration", "5"], ["--users", "many"], ["--fault", "flood"], ["--nonsense"], ["--keep", "a", "--check", "b"]],
    ids=" ".join,
)
def test_a_mistake_is_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and which option it is."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    said = capsys.readouterr().err
    assert 2 == ended.value.code
    assert arguments[0] in said
    assert 1 == said.count("\n")


def test_files_of_another_run_are_not_mixed_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with something in it is refused."""
    (tmp_path / "api.jsonl").touch()
    with pytest.raises(SystemExit) as ended:
        main(["--keep", str(tmp_path)])

    assert 2 == ended.value.code
    assert f"{tmp_path} is not empty; --keep wants a folder of its own for each run.\n" == capsys.readouterr().err
