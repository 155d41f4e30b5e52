"""However the demo ends, it leaves no processes, and an error is one sentence."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.cli import main
from tests.demo.demo_process import DemoProcess
from tests.emitted import parse
from tests.processes import all_exited
from tests.waiting import wait_for

LONG = ("--duration", "120", "--users", "10")
Start = Callable[..., DemoProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a demo that would take long, and kill it after the test."""
    started = []

    def start(*options: str, before: tuple[str, ...] = ()) -> DemoProcess:
        started.append(DemoProcess(tmp_path, *LONG, *options, before=before))
        return started[-1]

    yield start
    for demo in started:
        demo.kill()


def test_ctrl_c_leaves_no_process_and_no_file(start: Start) -> None:
    """The exit code is 130, and there is no traceback."""
    demo = start()
    children = demo.children()
    demo.signal(signal.SIGINT)

    assert 130 == demo.wait()
    assert all_exited(list(children.values()))
    assert "" == demo.errors
    assert [] == demo.temporary_folders()


def test_sigterm_stops_the_services_in_order(start: Start, tmp_path: Path) -> None:
    """Their last lines are in the files that are kept. With nohup, a hangup before that has no effect."""
    kept = tmp_path / "kept"
    demo = start("--keep", str(kept), before=("nohup",))
    children = demo.children()
    record = kept / "requests.jsonl"
    wait_for(lambda: record.exists() and record.stat().st_size, "the record of requests")
    demo.signal(signal.SIGHUP)
    demo.signal(signal.SIGTERM)

    assert 143 == demo.wait()
    assert all_exited(list(children.values()))
    assert "" == re.sub("nohup: .*\n", "", demo.errors)
    files = {file.stem: file.read_text() for file in kept.glob("*.jsonl")}
    assert {"api", "payments", "loadtest", "requests", "samples"} == set(files)
    assert all(text.endswith("\n") for text in files.values())
    lines = {name: parse(text) for name, text in files.items()}
    assert all(lines[name][-1].get("event") == "service.stopped" for name in ("api", "payments"))
    assert "run.stopped" in {line.get("event") for line in lines["loadtest"]}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a process when its parent ends")
def test_sigkill_ends_the_services_too(start: Start) -> None:
    """The kernel ends the processes of a demo that is killed."""
    demo = start()
    children = demo.children()
    demo.signal(signal.SIGKILL)
    demo.wait()

    wait_for(lambda: all_exited(list(children.values())), "the end of the processes")


def test_a_closed_pipe_stops_everything(tmp_path: Path) -> None:
    """As after `make demo | head -2`: the exit code is that of SIGPIPE, and there is no error message."""
    # The next line is due when Locust runs, too.
    script = '{ "$@"; echo $? >"$CODE"; } | head -2'
    result = subprocess.run(  # noqa: S603 - the demo
        ["/bin/sh", "-c", script, "sh", sys.executable, "-m", "demo", *LONG],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "CODE": str(tmp_path / "code"), "TMPDIR": str(tmp_path)},
    )

    assert "141\n" == (tmp_path / "code").read_text()
    assert "" == result.stderr
    assert 2 == result.stdout.count("\n")
    assert [] == list(tmp_path.glob("spike-to-log-*"))


@pytest.mark.parametrize("victim", ["api", "locust"])
def test_a_process_that_dies_is_named(start: Start, victim: str) -> None:
    """The message has its last line and the folder with the files, which are not removed."""
    demo = start()
    children = demo.children()
    os.kill(children[victim], signal.SIGKILL)

    assert 1 == demo.wait()
    assert all_exited(list(children.values()))
    (folder,) = demo.temporary_folders()
    name = {"locust": "loadtest"}.get(victim, victim)
    message = rf'{name} ended unexpectedly \(killed by SIGKILL\); its last line: ".+"\. The files are in {folder}\.\n'
    assert re.fullmatch(message, demo.errors)


def test_a_full_disk_is_one_sentence(start: Start) -> None:
    """Simulated by a limit on the size of files."""
    demo = start(before=("sh", "-c", 'ulimit -f 200; exec "$@"', "sh"))

    assert 1 == demo.wait()
    (folder,) = demo.temporary_folders()
    assert f"The files of this run cannot be written: File too large. The files are in {folder}.\n" == demo.errors


@pytest.mark.parametrize(
    "arguments",
    [["--duration", "5"], ["--users", "many"], ["--fault", "flood"], ["--nonsense"], ["--keep", "a", "--check", "b"]],
    ids=" ".join,
)
def test_a_wrong_option_is_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It names the option, and the exit code is 2."""
    assert 2 == main(arguments)

    message = capsys.readouterr().err
    assert arguments[0] in message
    assert 1 == message.count("\n")


def test_keep_needs_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of two runs are never mixed."""
    (tmp_path / "api.jsonl").touch()

    assert 2 == main(["--keep", str(tmp_path)])
    assert f"{tmp_path} is not empty; name a new or an empty folder" in capsys.readouterr().err


def test_check_needs_the_files_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder is an error in one sentence."""
    assert 1 == main(["--check", str(tmp_path)])

    message = f"{tmp_path} has no files of a run: there are no samples, or no log lines of requests.\n"
    assert message == capsys.readouterr().err


def test_a_missing_package_is_one_sentence() -> None:
    """Without the packages of `.venv`, the demo names the command that installs them."""
    result = subprocess.run([sys.executable, "-S", "-m", "demo"], check=False, capture_output=True, text=True)

    assert 2 == result.returncode
    assert re.fullmatch(r"The package \w+ is missing: run `make setup`, .*\n", result.stderr)
