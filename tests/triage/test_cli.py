"""The commands with files: output, exit codes and error messages."""

import json
from pathlib import Path

import pytest

from tests.triage.conftest import RunCli
from tests.triage.fake_service import T0, FakeService, write
from tests.triage.incidents import Incident, run
from tests.triage.test_console import HOSTILE
from tests.triage.test_reconcile import make_run
from triage.console import sanitize


@pytest.fixture(scope="module")
def incident() -> Incident:
    return run(5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, incident: Incident) -> Path:
    """Return a folder with the lines of an incident, and files that no command can use."""
    folder = tmp_path_factory.mktemp("lines")
    write(folder / "api.jsonl", incident.lines)
    (folder / "empty").mkdir()
    (folder / "foreign.txt").write_text("Hello\n5\n")
    return folder


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
        ["bogus"],
        ["trace"],
        ["trace", "x"],
        ["trace", "x", "y"],
        ["trace", "unknown", "--jsonl", "api.jsonl"],
        ["trace", "-", "--jsonl", "."],
        ["trace", "x", "--jsonl", "foreign.txt"],
        ["trace", "\x1b[31m\u202e[red]\n\r", "--jsonl", "."],
        ["explain"],
        ["explain", "--bogus"],
        ["explain", "--slow-ms", "soon"],
        ["explain", "--jsonl", "/nowhere"],
        ["explain", "--jsonl", "empty"],
        ["explain", "--jsonl", "/dev/null"],
        ["explain", "--jsonl", "\x1b[31m\u202e[red]"],
        ["explain", "--jsonl", ".", "--from", "2026-11-23T03:14:00Z"],
        ["explain", "--jsonl", ".", "--from", "2", "--to", "1"],
        ["explain", "--jsonl", ".", "--from", "1e308", "--to", "nan"],
        ["explain", "--jsonl", ".", "--service", "\x1b[1m"],
        ["reconcile"],
        ["reconcile", "--jsonl", "."],
        ["reconcile", "--jsonl", ".", "--run", "other"],
    ],
    ids=repr,
)
def test_errors(run_cli: RunCli, folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """An error is one sanitized sentence on stderr, with exit code 2."""
    monkeypatch.chdir(folder)
    code, _, err = run_cli(*words)
    assert code == 2
    assert err.endswith(".\n")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()


def test_unknown_id(run_cli: RunCli, folder: Path, tmp_path: Path, incident: Incident) -> None:
    """The error has the number of files, of lines and of unreadable lines, and the time that they span."""
    (tmp_path / "b.log").write_text("Hello\n")
    _, _, err = run_cli("trace", "nowhere", "--jsonl", folder, "--jsonl", tmp_path)
    assert f"2 files with {len(incident.lines) + 1:,} lines, of which 1 were not log lines," in err
    assert f"from {min(line['timestamp'] for line in incident.lines)} to " in err


def test_several_paths(run_cli: RunCli, folder: Path, incident: Incident) -> None:
    """`--jsonl` may be repeated, before and after the id."""
    trace_id = next(line["trace_id"] for line in incident.lines if "trace_id" in line)
    other = folder / "foreign.txt"
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
    together = "".join(HOSTILE)
    api = FakeService(f"api{together}")
    fields = {f"{hostile}{unit}": 5 for hostile in HOSTILE for unit in ("_ms", "_calls")}
    for number in range(60):
        slow, hostile = number % 4 == 0, HOSTILE[number % len(HOSTILE)]
        line = api.finish(
            T0 + number, 900 if slow else 5, route=hostile, method=hostile, trace_id=f"{together}{number}"
        )
        line |= fields | {name: name if slow else "fine" for name in HOSTILE}
        line |= {"message": hostile, "level": hostile, "instance": hostile, "request_id": f"{together}-0-{number}"}
    sent = [
        {"timestamp": "2026-11-23T03:14:00Z", "event": "request.sent", "service": "loadtest", "run": together,
         "request_id": f"{together}-0-{number}", "method": hostile, "route": hostile, "status": 200}
        for number, hostile in enumerate(HOSTILE, start=len(api.lines) // 2)
    ]  # fmt: skip
    path = write(tmp_path / "\x1b[31m\u202e.jsonl", [*api.lines, *sent])
    service, window = ["--service", f"api{together}"], ["--from", T0, "--to", T0 + 100]
    shown = ""
    for words in (["trace", f"{together}0"], ["explain", *service, *window], ["reconcile", *service]):
        for more in ([], ["--json"]):
            _, out, err = run_cli(*words, *more, "--jsonl", path)
            assert out
            assert (out + err).replace("\n", "").isprintable(), words
            shown += out
    assert all(sanitize(hostile) in shown for hostile in HOSTILE)


@pytest.mark.parametrize(
    "words", [["tour"], ["trace"], ["explain"], ["reconcile"], ["verdict"]], ids=lambda words: words[0]
)
def test_help(run_cli: RunCli, words: list[str]) -> None:
    """Each command's help has an example."""
    code, out, _ = run_cli(*words, "--help")
    assert code == 0
    assert f"Example: triage {words[0]} " in out
