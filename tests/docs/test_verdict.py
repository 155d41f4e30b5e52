"""docs/reference.md documents the thresholds, the exit codes of `triage verdict`, and its lines in Loki."""

import json
from pathlib import Path

from loadtest import thresholds
from loadtest.loki_push import push_verdict
from loadtest.verdict import Verdict, Word, judge
from tests.docs.test_reference import ROOT, table
from tests.triage.fake_runs import fake_run
from tests.triage.fake_servers import FakeServer, fake_server
from triage import errors
from triage.stores.client import HttpClient
from triage.stores.runs import RunFolder

SHIPPED = ROOT / "loadtest/thresholds.toml"


def verdict_of_run(folder: Path) -> Verdict:
    store = RunFolder(fake_run(seconds=1).write(folder))
    plan = store.plan()
    measured, generators = store.measurements(plan.name, 1, 1), store.generators(plan.name)
    return judge(plan, measured, generators, None, None, thresholds.read_thresholds(SHIPPED))


def pushed_fields(server: FakeServer, found: Verdict) -> dict[str, set[str]]:
    """Return the fields of the lines that are pushed to Loki, by event."""
    server.responses["/loki/api/v1/push"] = 204, ""
    with HttpClient("Loki", server.url) as loki:
        push_verdict(loki, found)
    streams = json.loads(server.posts[0][1])["streams"]
    lines = [json.loads(line) for stream in streams for _, line, _ in stream["values"]]
    return {line["event"]: set(line) for line in lines}


def test_thresholds(tmp_path: Path) -> None:
    """Every threshold is documented with its tables, and the shipped file sets all overall ones."""
    tables: dict[str, set[str]] = {
        "overall": set(thresholds.OverallThresholds.model_fields),
        "routes": set(thresholds.RouteThresholds.model_fields),
        "reconciliation": set(thresholds.ReconciliationThresholds.model_fields),
        "links": set(thresholds.LinkThresholds.model_fields),
    }
    assert set(tables) == set(thresholds.Thresholds.model_fields)
    keys = set().union(*tables.values())
    known = {key: [f"`{name}`" for name in tables if key in tables[name]] for key in keys}
    assert known == {key: row[0].split(", ") for key, row in table("Thresholds").items()}
    shipped = thresholds.read_thresholds(SHIPPED)
    assert tables["overall"] == set(shipped.overall.limits())
    assert (0, 0, True) == (shipped.reconciliation.differences, shipped.links.dead, bool(shipped.routes))
    assert verdict_of_run(tmp_path).word is Word.PASS


def test_exit_codes() -> None:
    """The documented exit codes are those of the command."""
    codes = {"0", str(errors.EXIT_MISMATCH), str(errors.EXIT_ERROR), str(errors.EXIT_INVALID)}
    assert codes == set(table("Verdict"))


def test_lines_in_loki(tmp_path: Path) -> None:
    """The documented fields are those of the lines, for each event."""
    with fake_server() as server:
        fields = pushed_fields(server, verdict_of_run(tmp_path))
    always = {*table("Fields of every line"), "event"}
    assert always <= fields["run.verdict"] & fields["run.slow"]
    documented: dict[str, set[str]] = {"run.verdict": set(), "run.slow": set()}
    for field, (events, _) in table("Lines of a run in Loki").items():
        for event in documented if events == "both" else [events.strip("`")]:
            documented[event].add(field)
    assert documented == {event: fields[event] - always for event in documented}
