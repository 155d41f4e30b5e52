"""docs/reference.md says what a run has to keep, how `triage verdict` ends, and what Loki is told."""

import json
from pathlib import Path

from tests.docs.test_reference import ROOT, table
from tests.triage.answering import Answering, answering
from tests.triage.running import running
from triage import errors, thresholds
from triage.stores._http import Server
from triage.stores.runs import RunFolder
from triage.telling import tell
from triage.verdict import Verdict, Word, verdict
from triage.worst import worst

SHIPPED = ROOT / "loadtest/thresholds.toml"


def judged(folder: Path) -> Verdict:
    store = RunFolder(running(seconds=1).write(folder))
    facts = store.facts()
    measured = store.measured(facts.name, 1, 1)
    return verdict(facts, measured, store.generators(facts.name), None, None, thresholds.read(SHIPPED))


def told(servers: Answering, found: Verdict) -> dict[str, set[str]]:
    """Return the fields of the lines that Loki is told, by event."""
    servers.answers["/loki/api/v1/push"] = 204, ""
    with Server("Loki", servers.url) as loki:
        tell(loki, found, worst(found, "http://localhost:3000"))
    streams = json.loads(servers.posted[0][1])["streams"]
    lines = [json.loads(line) for stream in streams for _, line, _ in stream["values"]]
    return {line["event"]: set(line) for line in lines}


def test_thresholds(tmp_path: Path) -> None:
    """The keys are those that are read, each in its tables; the shipped file names all of them."""
    tables = {"overall": thresholds.OVERALL, "routes": thresholds.ROUTE}
    tables |= {name: (key,) for name, key in thresholds.ONE_EACH.items()}
    known = {
        key: [f"`{name}`" for name, keys in tables.items() if key in keys] for keys in tables.values() for key in keys
    }
    assert known == {key: row[0].split(", ") for key, row in table("Thresholds").items()}
    shipped = thresholds.read(SHIPPED)
    assert set(thresholds.OVERALL) == set(shipped.overall)
    assert (0, 0, True) == (shipped.differences, shipped.dead, bool(shipped.routes))
    assert judged(tmp_path).word is Word.PASS


def test_exit_codes() -> None:
    """The codes are those of the command."""
    codes = {"0", str(errors.MISMATCH), str(errors.CANNOT), str(errors.INVALID)}
    assert codes == set(table("Verdict"))


def test_what_loki_is_told(tmp_path: Path) -> None:
    """The fields are those that are written, each in the event that is said."""
    with answering() as servers:
        written = told(servers, judged(tmp_path))
    always = {*table("Fields of every line"), "event"}
    assert always <= written["run.verdict"] & written["run.slow"]
    said: dict[str, set[str]] = {"run.verdict": set(), "run.slow": set()}
    for field, (events, _) in table("What Loki is told of a run").items():
        for event in said if events == "both" else [events.strip("`")]:
            said[event].add(field)
    assert said == {event: written[event] - always for event in said}
