"""The commands, as a person types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.triage.conftest import Typed
from tests.triage.emitting import T0, Emitting, Line, write
from tests.triage.incidents import Incident, run
from tests.triage.test_harmless import NASTY
from tests.triage.test_reconcile import made

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def incident() -> Incident:
    return run(5)


@pytest.fixture
def folder(tmp_path: Path, incident: Incident) -> Path:
    write(tmp_path / "api.jsonl", incident.lines)
    return tmp_path


def test_the_walk(typed: Typed, folder: Path, incident: Incident) -> None:
    """Explain names the users and an id, and trace shows where that request's time went."""
    code, out, err = typed("explain", "--jsonl", folder)
    assert (0, "") == (code, err)
    assert "found in the metrics" in out
    assert "user_id in " in out
    _, text, _ = typed("explain", "--jsonl", folder, "--json")
    explained = json.loads(text)
    assert {value["value"] for value in explained["causes"][0]["values"]} <= incident.users
    code, out, err = typed("trace", explained["examples"][0], "--jsonl", folder)
    assert (0, "") == (code, err)
    assert "Request finished" in out
    assert "100%" in out
    _, text, _ = typed("trace", explained["examples"][0], "--jsonl", folder, "--json")
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
        ["trace", "nobody's", "--jsonl", "api.jsonl"],
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
def test_complaints(typed: Typed, folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Whatever is wrong is one harmless sentence on stderr, and exit code 2."""
    monkeypatch.chdir(folder)
    Path("empty").mkdir()
    Path("foreign.txt").write_text("Hello\n5\n")
    code, _, err = typed(*words)
    assert code == 2
    assert err.endswith(".\n")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()


def test_where_an_id_was_looked_for(typed: Typed, folder: Path, incident: Incident) -> None:
    """An id that is nowhere is told with the number of files, lines and unreadable lines, and the time they span."""
    (folder / "b.log").write_text("Hello\n")
    _, _, err = typed("trace", "nowhere", "--jsonl", folder)
    assert f"2 files with {len(incident.lines) + 1:,} lines, of which 1 were not readable," in err
    assert f"from {min(line['timestamp'] for line in incident.lines)} to " in err


def test_paths_in_every_order(typed: Typed, folder: Path, incident: Incident) -> None:
    """`--jsonl` takes several paths, and may come twice, before and after the id."""
    trace_id = next(line["trace_id"] for line in incident.lines if "trace_id" in line)
    other = write(folder / "other.txt", [])
    for words in (
        ["trace", trace_id, "--jsonl", other, folder],
        ["trace", "--jsonl", other, folder, trace_id],
        ["trace", "--jsonl", other, "--jsonl", folder, "--json", trace_id],
        ["trace", f"--jsonl={folder}", trace_id],
    ):
        code, out, _ = typed(*words)
        assert code == 0
        assert trace_id in out


def test_reconciled(typed: Typed, tmp_path: Path) -> None:
    """Equal is 0, a mismatch is 1 with its id, half an answer is 2."""
    well = made()
    path = write(tmp_path / "a.jsonl", [*well.api.lines, *well.sent])
    assert 0 == typed("reconcile", "--jsonl", path)[0]
    code, out, _ = typed("reconcile", "--jsonl", path, "--json")
    assert (0, True) == (code, json.loads(out)["equal"])
    del well.sent[4]
    code, out, _ = typed("reconcile", "--jsonl", write(path, [*well.api.lines, *well.sent]))
    assert code == 1
    assert f"logged, but never sent: 1 ({well.sent[0]['request_id'][:-1]}4)" in out
    killed = made(kill_after=50)
    code, out, _ = typed("reconcile", "--jsonl", write(path, [*killed.api.lines, *killed.sent]))
    assert code == 0
    assert "Unknown between 2026-" in out
    assert 2 == typed("reconcile", "--jsonl", write(path, well.api.lines))[0]


def test_no_spike_and_no_cause(typed: Typed, tmp_path: Path) -> None:
    """That there was none is an answer, too: exit code 0."""
    path = write(tmp_path / "a.jsonl", run(1, fault=False).lines)
    code, out, err = typed("explain", "--jsonl", path)
    assert (0, "") == (code, err)
    assert "There was no spike" in out
    api = Emitting()
    for each in range(200):
        api.finish(T0 + each, 900 if each % 7 == 0 else 5, user_id=each % 10, tenant="a")
    window = ["--from", T0, "--to", T0 + 300]
    _, out, _ = typed("explain", "--jsonl", write(path, api.lines), *window)
    assert "Nothing explains it. Looked at: span_id, trace_id, user_id." in out
    _, out, _ = typed("explain", "--jsonl", path, *window, "--slow-ms", 1000)
    assert "No request took longer than 1000 ms" in out


def test_hostile_lines(typed: Typed, tmp_path: Path) -> None:
    """Nothing that stands in a line acts on the terminal: not in a value, a key, a name of a file, or an id."""
    for number, nasty in enumerate(NASTY):
        api = Emitting(f"api{nasty}", nasty)
        for each in range(40):
            slow = each % 4 == 0
            line = api.finish(T0 + each, 900 if slow else 5, route=nasty, method=nasty, trace_id=f"{nasty}{each}")
            line |= {nasty: nasty if slow else "fine", f"{nasty}_ms": 5, f"{nasty}_calls": 1, "message": nasty}
            line |= {"level": nasty, "request_id": f"{nasty}-0-1"}
        path = write(tmp_path / f"{number}.jsonl", [*api.lines, *_sent(nasty)])
        window = ["--from", T0, "--to", T0 + 100, "--service", f"api{nasty}"]
        for words in (["trace", f"{nasty}0"], ["explain", *window], ["reconcile", *window[4:]]):
            for more in ([], ["--json"]):
                _, out, err = typed(*words, *more, "--jsonl", path)
                assert (out + err).replace("\n", "").isprintable(), nasty
                assert out


def _sent(nasty: str) -> list[Line]:
    return [{"timestamp": "2026-11-23T03:14:00Z", "event": "request.sent", "service": "loadtest", "run": nasty,
             "request_id": f"{nasty}-0-2", "method": nasty, "route": nasty, "status": 200}]  # fmt: skip


@pytest.mark.parametrize(
    "words", [["tour"], ["trace"], ["explain"], ["reconcile"], ["verdict"]], ids=lambda words: words[0]
)
def test_help(typed: Typed, words: list[str]) -> None:
    """Each command's help has an example."""
    code, out, _ = typed(*words, "--help")
    assert code == 0
    assert f"Example: triage {words[0]} " in out


@pytest.mark.parametrize("more", ["", "--json"])
def test_a_reader_that_went_away(folder: Path, more: str) -> None:
    """A closed pipe ends a command quietly."""
    command = f"{sys.executable} -m triage explain {more} --jsonl {folder} | true"
    ended = subprocess.run(  # noqa: S602 - a pipe is what is tested
        command, shell=True, cwd=ROOT, capture_output=True, check=True, env={**os.environ, "FORCE_COLOR": "1"}
    )
    assert (b"", b"") == (ended.stdout, ended.stderr)
