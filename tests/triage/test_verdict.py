"""A run passes, fails or is not valid, and says why; whatever its lines are made of."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.triage.conftest import Typed
from tests.triage.emitting import RUN, T0
from tests.triage.running import Running, about, running
from tests.triage.test_harmless import NASTY

ROOT = Path(__file__).parents[2]
THRESHOLDS = ROOT / "loadtest/thresholds.toml"


@pytest.fixture
def judged(typed: Typed, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Write a run, and ask for its verdict without the stack."""

    def judge(run: Running, *words: object, **written: object) -> tuple[int, str, str]:
        run.write(tmp_path, **written)  # type: ignore[arg-type]
        return typed("verdict", "--runs", tmp_path, "--thresholds", THRESHOLDS, "--no-stack", *words)

    return judge


def slow(run: Running) -> Running:
    """Let two of a hundred requests be slower than the objective."""
    for line in run.requests[::50]:
        line["client_ms"] = 600.0
    return run


def test_pass(judged: Typed, tmp_path: Path) -> None:
    """A run that keeps its thresholds is 0, and leaves its verdict in its folder for machines and pull requests."""
    code, out, err = judged(running())
    assert (0, "") == (code, err)
    assert out.startswith(f"Run {RUN} of http://127.0.0.1:8000: PASS\n")
    told = json.loads((tmp_path / RUN / "verdict.json").read_text())
    assert ("PASS", "", 1000, None) == (told["verdict"], told["why"], told["overall"]["requests"], told["dead_links"])
    assert judged(running(), "--json")[1] == (tmp_path / RUN / "verdict.json").read_text()
    assert judged(running(), "--markdown")[1] == (tmp_path / RUN / "verdict.md").read_text()


def test_fail(judged: Typed) -> None:
    """One threshold that is not kept is 1, and the slowest requests are there with what the server did not see."""
    code, out, _ = judged(slow(running()))
    assert code == 1
    assert re.search(r"overall +p99_ms +600.0 ms  at most 500.0 ms +not kept", out)
    told = json.loads(judged(slow(running()), "--json")[1])
    assert told["why"] == "overall p99_ms is 600.0 ms, the threshold is 500.0 ms"
    first = told["requests"][0]
    assert first["difference_ms"] == round(600.0 - first["server_ms"], 3)
    link = f"/d/trace-logs?var-trace_id={first['trace_id']}&time={(T0 + 0.6) * 1000:.0f}&time.window=600000"
    assert first["link"] == f"http://localhost:3000{link}"


def test_failed_requests(judged: Typed) -> None:
    """All that failed are shown beside the slowest, at most fifty in all, and a share of them is a threshold."""
    run = running()
    for number, line in enumerate(run.requests[:60]):
        line["status"] = 503 if number % 2 else None
    code, out, _ = judged(run)
    assert code == 1
    assert re.search(r"overall +failures +6.00% +at most 0.10% +not kept", out)
    assert "... and 20 more that failed" in out
    told = json.loads(judged(run, "--json")[1])
    assert [("slow", 10), ("failed", 40)] == [
        (why, sum(each["why"] == why for each in told["requests"])) for why in ("slow", "failed")
    ]


def busy(run: Running) -> Running:
    for second in range(5):
        run.samples[1][second]["cpu"] = 0.97
    return run


def fewer(run: Running) -> Running:
    del run.sent[0][:10], run.sent[1][:10]
    return run


def late(run: Running) -> Running:
    for line in run.requests[:20]:
        line["late_ms"] = 1_001
    return run


def interrupted(run: Running) -> Running:
    run.stopped["interrupted"] = True
    return run


def empty(run: Running) -> Running:
    for lines in run.sent:
        lines.clear()
    return run


def absent(run: Running) -> Running:
    run.started["workers"] = 3
    return run


@pytest.mark.parametrize(
    ("change", "loop", "written", "why"),
    [
        (busy, "open", {}, "Generator 1 was busy: 97.0% of its core over five seconds"),
        (fewer, "open", {}, "Only 49.0 of the planned 50.0 requests each second were sent when they were due"),
        (late, "open", {}, "Only 49.0 of the planned 50.0 requests each second were sent when they were due"),
        (fewer, "closed", {}, "the service made them wait. A closed loop hides such waits"),
        (slow, "open", {"lost": (1,)}, "Generator 1 was lost"),
        (absent, "open", {}, "1 of 3 generators never came"),
        (interrupted, "open", {}, "The run was interrupted before its end"),
        (slow, "open", {"stopped": False}, "it is still going on, or it was killed"),
        (empty, "open", {}, "No request was made"),
    ],
)  # fmt: skip
def test_invalid(
    judged: Typed, change: Callable[[Running], Running], loop: str, written: dict[str, object], why: str
) -> None:
    """A run that measured nothing is 3 and says why, also where it would fail."""
    code, out, err = judged(change(running(loop=loop, workers=2)), **written)
    assert (3, "") == (code, err)
    assert out.partition("\n")[0].endswith(": INVALID")
    assert why in out
    told = json.loads(judged(change(running(loop=loop, workers=2)), "--json", **written)[1])
    assert [reason for reason in told["reasons"] if why in reason]
    assert len(told["reasons"]) == 1


def test_a_closed_loop_with_a_busy_generator(judged: Typed) -> None:
    """Who is to blame for too few requests is not told where the generator had no time."""
    told = json.loads(judged(fewer(busy(running(loop="closed", workers=2))), "--json")[1])
    assert ["was busy", "when they were due"] == [
        word
        for reason in told["reasons"]
        for word in ("was busy", "the service", "when they were due")
        if word in reason
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[overall]\np9_ms = 5", "overall.p9_ms is nothing that is checked; there are p50_ms, p95_ms"),
        ("[everything]", "everything is nothing that is checked"),
        ("overall = 5", "overall is a table, and not 5"),
        ('[overall]\np99_ms = "5"', "overall.p99_ms is a number, and not '5'"),
        ("[overall]\np99_ms = true", "overall.p99_ms is a number, and not True"),
        ("[overall]\np99_ms = nan", "overall.p99_ms is a number, and not nan"),
        ("[overall]\np99_ms = -1", "overall.p99_ms is 0 or more, and not -1"),
        ("[overall]\nfailures = 5", "overall.failures is a share from 0 to 1, and not 5"),
        ("[links]\ndead = 0.5", "links.dead is a whole number, and not 0.5"),
        ("[reconciliation]\ndead = 0", "reconciliation.dead is nothing that is checked; there are differences"),
        (
            '[routes."GET /nowhere"]\np99_ms = 5',
            'routes."GET /nowhere" had no request in this run; the routes that had',
        ),
        ('[routes."GET /x"]\nachieved = 1', 'routes."GET /x".achieved is nothing that is checked'),
        ("[routes]\np99_ms = 5", "routes.p99_ms is a table, and not 5"),
        ("overall", "is no TOML: "),
        ("\x1b[31m\u202e", "is no TOML: "),
        ('[overall]\n"\u202e\\n" = 5', "is nothing that is checked"),
    ],
)
def test_bad_thresholds(typed: Typed, tmp_path: Path, text: str, said: str) -> None:
    """A mistake in the file is one sentence with its name and the key, and 2."""
    running(seconds=1).write(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text(text)
    code, out, err = typed("verdict", "--runs", tmp_path, "--thresholds", file, "--no-stack")
    assert (2, "") == (code, out)
    assert err.startswith(str(file))
    assert said in err
    assert err.count("\n") == 1
    assert err[:-1].isprintable()


@pytest.mark.parametrize(
    "words",
    [
        ["nowhere"],
        ["--runs", "/nowhere"],
        ["--thresholds", "/nowhere"],
        ["--thresholds", "."],
        ["--json", "--markdown"],
        ["\x00"],
        ["\x1b[31m\u202e[red]"],
        ["broken"],
    ],
    ids=repr,
)
def test_complaints(typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """What cannot be told is one harmless sentence, and 2."""
    monkeypatch.chdir(tmp_path)
    Path("t.toml").write_text("")
    running(seconds=1).write(Path("runs"))
    Path("runs/broken").mkdir()
    Path("runs/broken/run.jsonl").write_text("Hello\n")
    code, out, err = typed("verdict", "--thresholds", "t.toml", "--no-stack", *words)
    assert (2, "") == (code, out)
    assert err.endswith(".\n")
    assert err[:-1].isprintable()


def test_which_run(typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is named, or is a path, or is the newest."""
    monkeypatch.chdir(tmp_path)
    for run in ("b", "a"):
        running(seconds=1, run=run).write(Path("runs"))
    words = ["verdict", "--thresholds", THRESHOLDS, "--no-stack", "--json"]
    for more, name in (([], "a"), (["b"], "b"), ([tmp_path / "runs/b"], "b")):
        assert name == json.loads(typed(*words, *more)[1])["run"]


HOSTILE = [*NASTY, "a|b", "`a`", "``|``", "<b>x</b>", "<!--", "[a](http://evil)", "@everyone #1", "\\|", "$x$", "&lt;"]


def test_hostile_runs(judged: Typed) -> None:
    """Routes, ids and all other texts act neither on a terminal nor in Markdown, where each row keeps its cells."""
    run, everything = running(seconds=1), "".join(HOSTILE)
    for nasty, line in zip(HOSTILE, run.requests[1:], strict=False):
        line |= {"route": nasty, "method": nasty, "request_id": nasty, "trace_id": nasty, "status": 503}
    run.requests[0].update(client_ms=9e3, status=everything)
    run.started.update(host=everything, profile=everything, loop=everything)
    run.samples[0][0]["worker"] = everything
    for words in ([], ["--json"], ["--markdown"]):
        code, shown, err = judged(run, *words)
        assert code == 3
        assert (shown + err).replace("\n", "").replace("\ufe0f", "").isprintable()
    out = judged(run, "--markdown")[1]
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert {4, 9} == {len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows}
    assert len(rows) > len(HOSTILE) > 30
    ours = r"`[^`|<\\]*`|</?(?:code|details|summary)>|\[lines\]\(http://localhost:3000/[^()|<>\s]*\)"
    assert not re.search(r"[<>`@\\\[\]$]|&(?!#\d+;)|://", re.sub(ours, "", out))


def test_numbers_that_are_none(judged: Typed) -> None:
    """What is no number in a line ends neither the verdict nor its JSON."""
    run = running(seconds=1)
    run.requests[0].update(client_ms="Infinity", server_ms="NaN", late_ms=[])
    run.requests[1].update(client_ms=None, server_ms=True)
    run.samples[0].append(about(T0, "generator.sampled", RUN, worker=None, cpu="NaN"))
    _, out, err = judged(run, "--json")
    assert err == ""
    json.loads(out, parse_constant=pytest.fail)
