"""`triage verdict`, as it is typed."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triage.arguments import AsJson, Runs, Service
from triage.errors import INVALID, MISMATCH, CannotTellError, say

if TYPE_CHECKING:
    from triage.thresholds import Thresholds
    from triage.tour.places import Places
    from triage.verdict import Verdict

# What it needs is imported when it runs: help and the other commands do not wait for it.

_SLOWEST, _SHOWN = 10, 50  # requests that are shown: the slowest, and with the failed ones


def verdict(  # noqa: PLR0913, PLR0917 - options of the command line
    run: Annotated[str | None, typer.Argument(help="A run's name, or the path of its folder; else the newest.")] = None,
    runs: Runs = Path("runs"),
    thresholds: Annotated[Path, typer.Option(metavar="FILE", help="What a run has to keep.")] = Path(
        "loadtest/thresholds.toml"
    ),
    service: Service = "api",
    no_stack: Annotated[bool, typer.Option("--no-stack", help="Ask neither Loki nor Prometheus.")] = False,  # noqa: FBT002
    as_json: AsJson = False,  # noqa: FBT002
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For a pull request.")] = False,  # noqa: FBT002
) -> None:
    """Say whether a load run passed: 0 PASS, 1 FAIL, 3 INVALID, 2 cannot tell."""
    if as_json and as_markdown:
        msg = "It is either --json or --markdown: leave one of them away"
        raise CannotTellError(msg)
    from triage.render_verdict import show
    from triage.run_folders import folder_of
    from triage.screen import Screen
    from triage.stack import PATIENCE
    from triage.thresholds import read
    from triage.tour.places import places
    from triage.verdict import Word

    limits, at = read(thresholds), places(os.environ, PATIENCE)
    folder = folder_of(runs, run)
    found = _judge(folder, limits, None if no_stack else at, service)
    told = _write(folder, found, at.open_grafana)
    if not no_stack:
        _tell(found, at)
    if as_json or as_markdown:
        sys.stdout.write(told["verdict.json" if as_json else "verdict.md"])
    else:
        show(found, at.open_grafana, Screen(sys.stdout))
    raise typer.Exit({Word.PASS: 0, Word.FAIL: MISMATCH, Word.INVALID: INVALID}[found.word])


def _judge(folder: Path, limits: "Thresholds", at: "Places | None", service: str) -> "Verdict":
    """Measure a run, ask the stack at these places of it, and hold it against its thresholds."""
    from triage.stores.runs import RunFolder
    from triage.verdict import verdict as judge

    store = RunFolder(folder)
    facts = store.facts()
    measured, generators = store.measured(facts.name, _SLOWEST, _SHOWN - _SLOWEST), store.generators(facts.name)
    limits.need(measured.routes)
    found = judge(facts, measured, generators, None, None, limits)
    if at is None or measured.overall is None:
        return found
    from triage.asking import Asking

    asked = Asking(at, service).ask(store, facts, found.window, (*measured.slowest, *measured.failed))
    return judge(facts, measured, generators, asked.reconciliation, asked.dead, limits)


def _write(folder: Path, found: "Verdict", grafana: str) -> dict[str, str]:
    """Leave the verdict in the run's folder, for machines and for a pull request; return both."""
    from triage.harmless import harmless_json
    from triage.render_markdown import markdown
    from triage.render_verdict import as_json

    told = {
        "verdict.json": f"{harmless_json(as_json(found, grafana))}\n",
        "verdict.md": markdown(found, grafana),
    }
    try:
        for name, text in told.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as exc:
        say(f"The verdict cannot be written to {folder}: {exc.strerror}")
    return told


def _tell(found: "Verdict", at: "Places") -> None:
    """Tell Loki of it; that it does not listen changes no verdict."""
    from triage.stores import StoreError
    from triage.telling import tell
    from triage.worst import worst

    try:
        tell(at.loki, found, worst(found, at.open_grafana))
    except StoreError as exc:
        say(f"Grafana will not show this run: {exc}")
