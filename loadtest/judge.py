"""Judge a load run: read its folder, query the stack, and publish the verdict."""

from pathlib import Path
from typing import NamedTuple

from loadtest import verdict_report
from loadtest.loki_push import push_verdict
from loadtest.stack_check import check_stack
from loadtest.thresholds import read_thresholds, require_routes
from loadtest.verdict import Verdict, clocks_agree, judge, run_window
from triage.console import print_error
from triage.endpoints import QUERY_TIMEOUT, read_endpoints
from triage.errors import StoreError
from triage.stores.runs import RunFolder, find_run

_MAX_SLOWEST, _MAX_LISTED = 10, 50  # requests: the slowest ones, and those together with the failed ones


class Result(NamedTuple):
    """A verdict, and its JSON and Markdown; `grafana` is the address that links lead to."""

    verdict: Verdict
    grafana: str
    json: str
    markdown: str


def judge_run(runs: Path, run: str | None, thresholds_file: Path, service: str, *, use_stack: bool) -> Result:
    """Judge a run, write the verdict to its folder and, with `use_stack`, push it to Loki.

    Raise `TriageError` if the run or the thresholds cannot be read, or the stack does not respond.
    """
    thresholds, endpoints = read_thresholds(thresholds_file), read_endpoints(QUERY_TIMEOUT)
    folder = find_run(runs, run)
    store = RunFolder(folder)
    plan = store.plan()
    measured = store.measurements(plan.name, _MAX_SLOWEST, _MAX_LISTED - _MAX_SLOWEST)
    require_routes(thresholds, measured.routes, thresholds_file)
    reconciliation = dead = None
    if use_stack and measured.overall is not None and clocks_agree(plan):
        listed = (*measured.slowest, *measured.failed)
        window = run_window(plan, measured)
        reconciliation, dead = check_stack(endpoints, service, store, plan.name, window, listed)
    verdict = judge(plan, measured, store.generators(plan.name), reconciliation, dead, thresholds)
    grafana = endpoints.public_grafana
    report = verdict_report.to_json(verdict, grafana), verdict_report.to_markdown(verdict, grafana)
    try:
        for name, text in zip(("verdict.json", "verdict.md"), report, strict=True):
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as exc:
        print_error(f"The verdict cannot be written to {folder}: {exc.strerror}")
    if use_stack:
        try:
            push_verdict(endpoints.loki, verdict)
        except StoreError as exc:
            print_error(f"Grafana will not show this run: {exc}")
    return Result(verdict, grafana, *report)
