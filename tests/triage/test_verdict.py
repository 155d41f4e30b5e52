"""The verdict on a load run without the stack: PASS, FAIL or INVALID, and why."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.triage.conftest import RunCli
from tests.triage.fake_runs import FakeRun, fake_run, run_line
from tests.triage.fake_service import RUN, T0
from tests.triage.test_console import HOSTILE

ROOT = Path(__file__).parents[2]
THRESHOLDS = ROOT / "loadtest/thresholds.toml"


@pytest.fixture
def verdict_of(run_cli: RunCli, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Return a function that writes a run and runs `triage verdict` without the stack."""

    def verdict(run: FakeRun, *words: object, **written: object) -> tuple[int, str, str]:
        run.write(tmp_path, **written)  # type: ignore[arg-type]
        return run_cli("verdict", "--runs", tmp_path, "--thresholds", THRESHOLDS, "--no-stack", *words)

    return verdict


def slow(run: FakeRun) -> FakeRun:
    """Make two of a hundred requests slower than the objective."""
    for line in run.requests[::50]:
        line["client_ms"] = 600.0
    return run


def test_pass(verdict_of: RunCli, tmp_path: Path) -> None:
    """A run that meets its thresholds exits with 0; the verdict is written to its folder as JSON and Markdown."""
    code, out, err = verdict_of(fake_run())
    assert (0, "") == (code, err)
    assert out.startswith(f"Run {RUN} of http://127.0.0.1:8000: PASS\n")
    verdict = json.loads((tmp_path / RUN / "verdict.json").read_text())
    assert ("PASS", "", 1000, None) == (
        verdict["verdict"],
        verdict["why"],
        verdict["overall"]["requests"],
        verdict["dead_links"],
    )
    assert verdict_of(fake_run(), "--json")[1] == (tmp_path / RUN / "verdict.json").read_text()
    assert verdict_of(fake_run(), "--markdown")[1] == (tmp_path / RUN / "verdict.md").read_text()


def test_fail(verdict_of: RunCli) -> None:
    """A threshold that is not met exits with 1; the slowest requests are listed with their time outside the server."""
    code, out, _ = verdict_of(slow(fake_run()))
    assert code == 1
    assert re.search(r"overall +p99_ms +600.0 ms  at most 500.0 ms +not met", out)
    verdict = json.loads(verdict_of(slow(fake_run()), "--json")[1])
    assert verdict["why"] == "overall p99_ms is 600.0 ms, the threshold is 500.0 ms"
    first = verdict["requests"][0]
    assert first["difference_ms"] == round(600.0 - first["server_ms"], 3)
    link = f"/d/trace-logs?var-trace_id={first['trace_id']}&time={(T0 + 0.6) * 1000:.0f}&time.window=600000"
    assert first["link"] == f"http://localhost:3000{link}"


def test_failed_requests(verdict_of: RunCli) -> None:
    """Failed requests are listed after the slowest, fifty in all, and their share has a threshold."""
    run = fake_run()
    for number, line in enumerate(run.requests[:60]):
        line["status"] = 503 if number % 2 else None
    code, out, _ = verdict_of(run)
    assert code == 1
    assert re.search(r"overall +failures +6.00% +at most 0.10% +not met", out)
    assert "... and 20 more that failed" in out
    verdict = json.loads(verdict_of(run, "--json")[1])
    assert [("slow", 10), ("failed", 40)] == [
        (why, sum(each["why"] == why for each in verdict["requests"])) for why in ("slow", "failed")
    ]


def busy(run: FakeRun) -> FakeRun:
    for second in range(5):
        run.samples[1][second]["cpu"] = 0.97
    return run


def fewer(run: FakeRun) -> FakeRun:
    del run.sent[0][:10], run.sent[1][:10]
    return run


def late(run: FakeRun) -> FakeRun:
    for line in run.requests[:20]:
        line["late_ms"] = 1_001
    return run


def interrupted(run: FakeRun) -> FakeRun:
    run.stopped["interrupted"] = True
    return run


def clock_ahead(run: FakeRun) -> FakeRun:
    run.started["clock_offset_s"] = 58.2
    return slow(run)


def too_many_open_files(run: FakeRun) -> FakeRun:
    for line in run.requests[:12]:
        line |= {"status": None, "error": "TooManyOpenFiles"}
    return run


def clock_behind(run: FakeRun) -> FakeRun:
    run.started["clock_offset_s"] = -60
    return run


def empty(run: FakeRun) -> FakeRun:
    for lines in run.sent:
        lines.clear()
    return run


def absent(run: FakeRun) -> FakeRun:
    run.started["workers"] = 3
    return run


@pytest.mark.parametrize(
    ("change", "loop", "written", "why"),
    [
        (busy, "open", {}, "Generator 1 was busy: it used 97.0% of its core over five seconds"),
        (fewer, "open", {}, "Only 49.0 of the planned 50.0 requests per second were sent when they were due"),
        (late, "open", {}, "Only 49.0 of the planned 50.0 requests per second were sent when they were due"),
        (fewer, "closed", {}, "they waited for the service. A closed loop hides such delays"),
        (slow, "open", {"lost": (1,)}, "Generator 1 was lost"),
        (absent, "open", {}, "1 of 3 generators did not start"),
        (interrupted, "open", {}, "The run was interrupted."),
        (slow, "open", {"stopped": False}, "it is still running, or it was killed"),
        (empty, "open", {}, "No request was made"),
        (clock_ahead, "open", {}, "The clock of this machine is 58 s ahead of the service's"),
        (too_many_open_files, "open", {}, "12 requests were not sent, because a generator had too many open files"),
        (clock_behind, "open", {}, "The clock of this machine is 60 s behind the service's"),
    ],
)  # fmt: skip
def test_invalid(
    verdict_of: RunCli, change: Callable[[FakeRun], FakeRun], loop: str, written: dict[str, object], why: str
) -> None:
    """A run without valid measurements exits with 3 and the reason, even if it would fail."""
    code, out, err = verdict_of(change(fake_run(loop=loop, workers=2)), "--json", **written)
    assert (3, "") == (code, err)
    verdict = json.loads(out)
    assert "INVALID" == verdict["verdict"]
    (reason,) = verdict["reasons"]
    assert why in reason


def test_a_closed_loop_with_a_busy_generator(verdict_of: RunCli) -> None:
    """Too few requests are not blamed on the service if the generator was busy."""
    verdict = json.loads(verdict_of(fewer(busy(fake_run(loop="closed", workers=2))), "--json")[1])
    assert ["was busy", "when they were due"] == [
        word
        for reason in verdict["reasons"]
        for word in ("was busy", "waited for the service", "when they were due")
        if word in reason
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[overall]\np9_ms = 5", "overall.p9_ms is not a known threshold"),
        ('[overall]\np99_ms = "5"', "overall.p99_ms is invalid: Input should be a valid number, got '5'"),
        ("[overall]\np99_ms = nan", "overall.p99_ms is invalid: Input should be a finite number, got nan"),
        ("[overall]\nfailures = 5", "overall.failures is invalid: Input should be less than or equal to 1, got 5"),
        (
            '[routes."GET /nowhere"]\np99_ms = 5',
            'routes."GET /nowhere" had no requests in this run; the routes with requests',
        ),
        ('[routes."GET /x"]\nachieved = 1', 'routes."GET /x".achieved is not a known threshold'),
        ("\x1b[31m\u202e", "is not valid TOML: "),
        ('[overall]\n"\u202e\\n" = 5', "is not a known threshold"),
    ],
)
def test_invalid_thresholds(run_cli: RunCli, tmp_path: Path, text: str, message: str) -> None:
    """A mistake in the file is one sentence with the file and the key, and exit code 2."""
    fake_run(seconds=1).write(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text(text)
    code, out, err = run_cli("verdict", "--runs", tmp_path, "--thresholds", file, "--no-stack")
    assert (2, "") == (code, out)
    assert err.startswith(str(file))
    assert message in err
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
def test_errors(run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """An error is one sanitized sentence, with exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("t.toml").write_text("")
    fake_run(seconds=1).write(Path("runs"))
    Path("runs/broken").mkdir()
    Path("runs/broken/run.jsonl").write_text("Hello\n")
    code, out, err = run_cli("verdict", "--thresholds", "t.toml", "--no-stack", *words)
    assert (2, "") == (code, out)
    assert err.endswith(".\n")
    assert err[:-1].isprintable()


def test_choice_of_the_run(run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, or a path, or the newest one."""
    monkeypatch.chdir(tmp_path)
    for run in ("b", "a"):
        fake_run(seconds=1, run=run).write(Path("runs"))
    words = ["verdict", "--thresholds", THRESHOLDS, "--no-stack", "--json"]
    for more, name in (([], "a"), (["b"], "b"), ([tmp_path / "runs/b"], "b")):
        assert name == json.loads(run_cli(*words, *more)[1])["run"]


MARKDOWN = [
    *HOSTILE,
    "a|b",
    "`a`",
    "``|``",
    "<b>x</b>",
    "<!--",
    "[a](http://evil)",
    "@everyone #1",
    "\\|",
    "$x$",
    "&lt;",
]


def test_hostile_runs(verdict_of: RunCli) -> None:
    """Text of a run cannot control a terminal, and remains plain text in a single cell in Markdown."""
    run, everything = fake_run(seconds=1), "".join(MARKDOWN)
    for hostile, line in zip(MARKDOWN, run.requests[1:], strict=False):
        line |= {"route": hostile, "method": hostile, "request_id": hostile, "trace_id": hostile, "status": 503}
    run.requests[0].update(client_ms=9e3, status=everything)
    run.started.update(host=everything, profile=everything, loop=everything)
    run.samples[0][0]["worker"] = everything
    for words in ([], ["--json"], ["--markdown"]):
        code, shown, err = verdict_of(run, *words)
        assert code == 3
        assert (shown + err).replace("\n", "").replace("\ufe0f", "").isprintable()
    out = verdict_of(run, "--markdown")[1]
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert {4, 9} == {len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows}
    assert len(rows) > len(MARKDOWN) > 30
    allowed = r"`[^`|<\\]*`|</?(?:code|details|summary)>|\[lines\]\(http://localhost:3000/[^()|<>\s]*\)"
    assert not re.search(r"[<>`@\\\[\]$]|&(?!#\d+;)|://", re.sub(allowed, "", out))


def test_invalid_numbers(verdict_of: RunCli) -> None:
    """Invalid numbers in lines break neither the verdict nor its JSON."""
    run = fake_run(seconds=1)
    run.requests[0].update(client_ms="Infinity", server_ms="NaN", late_ms=[])
    run.requests[1].update(client_ms=None, server_ms=True)
    run.samples[0].append(run_line(T0, "generator.sampled", RUN, worker=None, cpu="NaN"))
    _, out, err = verdict_of(run, "--json")
    assert err == ""
    json.loads(out, parse_constant=pytest.fail)


def test_a_run_with_credentials(verdict_of: RunCli, tmp_path: Path) -> None:
    """A user name and password in the files of a run are not repeated in the verdict."""
    run = fake_run()
    run.started["host"] = "http://someone:s3cret@127.0.0.1:8000"
    code, out, err = verdict_of(run)
    assert (0, "") == (code, err)
    assert out.startswith(f"Run {RUN} of http://***@127.0.0.1:8000: PASS\n")
    files = [(tmp_path / RUN / name).read_text() for name in ("verdict.json", "verdict.md")]
    assert [] == [text for text in (out, *files) if "s3cret" in text]
