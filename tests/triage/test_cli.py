"""The commands with files: output, exit codes and error messages."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.triage.conftest import RunCli
from tests.triage.fake_service import T0, FakeService, Line, write
from tests.triage.incidents import Incident, run
from tests.triage.test_console import HOSTILE
from tests.triage.test_reconcile import make_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def incident() -> Incident:
    return run(5)


@pytest.fixture
def folder(tmp_path: Path, incident: Incident) -> Path:
    write(tmp_path / "api.jsonl", incident.lines)
    return tmp_path


def test_explain_and_trace(run_cli: RunCli, folder: Path, incident: Incident) -> None:
    """`explain` finds the affected users and an example, and `trace` shows where that request's time went."""
    code, out, err = run_cli("explain", "--jsonl", folder)
    assert (0, "") == (code, err)
    assert "found in the metrics" in out
    assert "user_id in " in out
    _, text, _ = run_cli("explain", "--jsonl", folder, "--json")
    explained = json.loads(text)
    assert {value["value"] for value in explained["causes"][0]["values"]} <= incident.users
    code, out, err = run_cli("trace", explained["examples"][0], "--jsonl", folder)
    assert (0, "") == (code, err)
    assert "Request finished" in out
    assert "100%" in out
    _, text, _ = run_cli("trace", explained["examples"][0], "--jsonl", folder, "--json")
    assert json.loads(text)["lines"][0]["user_id"] in incident.users


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["trace"],
        ["bogus"],
        ["explain", "--bogus"],
        ["trace", "x"],
        ["explain"],
        ["reconcile"],
        ["trace", "x", "y"],
        ["explain", "--slow-ms", "soon"],
        ["explain", "--jsonl"],
        ["explain", "--jsonl", "/nowhere"],
        ["explain", "--jsonl", ".", "--from", "2026-11-23T03:14:00Z"],
        ["trace", "unknown", "--jsonl", "api.jsonl"],
        ["explain", "--jsonl", ".", "--from", "2", "--to", "1"],
        ["explain", "--jsonl", ".", "--from", "x", "--to", "1"],
        ["explain", "--jsonl", ".", "--service", "other"],
        ["reconcile", "--jsonl", ".", "--run", "other"],
        ["explain", "--jsonl", "empty"],
        ["explain", "--jsonl", "foreign.txt"],
        ["trace", "-", "--jsonl", "."],
        ["trace", "\x1b[31m\u202e[red]\n\r", "--jsonl", "."],
        ["explain", "--jsonl", "\x1b[31m\u202e[red]"],
        ["reconcile", "--jsonl", "."],
        ["explain", "--jsonl", "/dev/null"],
        ["trace", "x", "--jsonl", "foreign.txt"],
        ["explain", "--jsonl", ".", "--from", "1e308", "--to", "nan"],
        ["explain", "--jsonl", ".", "--service", "\x1b[1m"],
    ],
    ids=repr,
)
def test_errors(run_cli: RunCli, folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """An error is one sanitized sentence on stderr, with exit code 2."""
    monkeypatch.chdir(folder)
    Path("empty").mkdir()
    Path("foreign.txt").write_text("Hello\n5\n")
    code, _, err = run_cli(*words)
    assert code == 2
    assert err.endswith(".\n")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()


def test_unknown_id(run_cli: RunCli, folder: Path, incident: Incident) -> None:
    """The error has the number of files, of lines and of unreadable lines, and the time that they span."""
    (folder / "b.log").write_text("Hello\n")
    _, _, err = run_cli("trace", "nowhere", "--jsonl", folder)
    assert f"2 files with {len(incident.lines) + 1:,} lines, of which 1 were not log lines," in err
    assert f"from {min(line['timestamp'] for line in incident.lines)} to " in err


def test_several_paths(run_cli: RunCli, folder: Path, incident: Incident) -> None:
    """`--jsonl` may be repeated, before and after the id."""
    trace_id = next(line["trace_id"] for line in incident.lines if "trace_id" in line)
    other = write(folder / "other.txt", [])
    for words in (
        ["trace", trace_id, "--jsonl", other, "--jsonl", folder],
        ["trace", "--jsonl", other, "--jsonl", folder, "--json", trace_id],
        ["trace", f"--jsonl={folder}", trace_id],
    ):
        code, out, _ = run_cli(*words)
        assert code == 0
        assert trace_id in out


def test_reconcile(run_cli: RunCli, tmp_path: Path) -> None:
    """The exit code is 0 if all is equal, 1 for a difference (printed with its id), and 2 for missing data."""
    normal = make_run()
    path = write(tmp_path / "a.jsonl", [*normal.api.lines, *normal.sent])
    assert 0 == run_cli("reconcile", "--jsonl", path)[0]
    code, out, _ = run_cli("reconcile", "--jsonl", path, "--json")
    assert (0, True) == (code, json.loads(out)["equal"])
    del normal.sent[4]
    code, out, _ = run_cli("reconcile", "--jsonl", write(path, [*normal.api.lines, *normal.sent]))
    assert code == 1
    assert f"logged, but never sent: 1 ({normal.sent[0]['request_id'][:-1]}4)" in out
    killed = make_run(kill_after=50)
    code, out, _ = run_cli("reconcile", "--jsonl", write(path, [*killed.api.lines, *killed.sent]))
    assert code == 0
    assert "Unknown between 2026-" in out
    assert 2 == run_cli("reconcile", "--jsonl", write(path, normal.api.lines))[0]


def test_no_spike_and_no_cause(run_cli: RunCli, tmp_path: Path) -> None:
    """That there is none is a result with exit code 0."""
    path = write(tmp_path / "a.jsonl", run(1, fault=False).lines)
    code, out, err = run_cli("explain", "--jsonl", path)
    assert (0, "") == (code, err)
    assert "There was no spike" in out
    api = FakeService()
    for each in range(200):
        api.finish(T0 + each, 900 if each % 7 == 0 else 5, user_id=each % 10, tenant="a")
    window = ["--from", T0, "--to", T0 + 300]
    _, out, _ = run_cli("explain", "--jsonl", write(path, api.lines), *window)
    assert "No cause found. Fields compared: span_id, trace_id, user_id." in out
    _, out, _ = run_cli("explain", "--jsonl", path, *window, "--slow-ms", 1000)
    assert "No request took longer than 1000 ms" in out


def test_hostile_lines(run_cli: RunCli, tmp_path: Path) -> None:
    """No text of a log line can control the terminal: neither keys nor values, file names nor ids."""
    for number, hostile in enumerate(HOSTILE):
        api = FakeService(f"api{hostile}", hostile)
        for each in range(40):
            slow = each % 4 == 0
            line = api.finish(T0 + each, 900 if slow else 5, route=hostile, method=hostile, trace_id=f"{hostile}{each}")
            line |= {
                hostile: hostile if slow else "fine",
                f"{hostile}_ms": 5,
                f"{hostile}_calls": 1,
                "message": hostile,
            }
            line |= {"level": hostile, "request_id": f"{hostile}-0-1"}
        path = write(tmp_path / f"{number}.jsonl", [*api.lines, *_sent(hostile)])
        window = ["--from", T0, "--to", T0 + 100, "--service", f"api{hostile}"]
        for words in (["trace", f"{hostile}0"], ["explain", *window], ["reconcile", *window[4:]]):
            for more in ([], ["--json"]):
                _, out, err = run_cli(*words, *more, "--jsonl", path)
                assert (out + err).replace("\n", "").isprintable(), hostile
                assert out


def _sent(hostile: str) -> list[Line]:
    return [{"timestamp": "2026-11-23T03:14:00Z", "event": "request.sent", "service": "loadtest", "run": hostile,
             "request_id": f"{hostile}-0-2", "method": hostile, "route": hostile, "status": 200}]  # fmt: skip


@pytest.mark.parametrize(
    "words", [["tour"], ["trace"], ["explain"], ["reconcile"], ["verdict"]], ids=lambda words: words[0]
)
def test_help(run_cli: RunCli, words: list[str]) -> None:
    """Each command's help has an example."""
    code, out, _ = run_cli(*words, "--help")
    assert code == 0
    assert f"Example: triage {words[0]} " in out


@pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
def test_broken_pipe(folder: Path, more: list[str]) -> None:
    """A command whose reader has closed the pipe ends without an error message, like one that SIGPIPE ends."""
    command = [sys.executable, "-m", "triage", "explain", *more, "--jsonl", str(folder)]
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "FORCE_COLOR": "1"}
    )
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert b"" == process.stderr.read()
    process.stderr.close()
    assert 128 + signal.SIGPIPE == process.wait()
