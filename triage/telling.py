"""What Loki is told of a run, so that Grafana shows it beside the service's lines."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from triage.harmless import harmless_line
from triage.moments import rfc3339
from triage.stores._http import Server
from triage.verdict import Verdict, Word
from triage.worst import Shown

_PUSH = "/loki/api/v1/push"
_SERVICE, _INSTANCE = "loadtest", "triage"


class Told(NamedTuple):
    """A line, before it is written."""

    at: float
    level: str
    message: str
    trace_id: str
    fields: Mapping[str, object]


def tell(loki: Server, found: Verdict, shown: Iterable[Shown]) -> None:
    """Tell of a run and of its worst requests; `StoreError` if Loki does not take it.

    Whoever tells of the same again adds nothing: Loki drops a line that it has.
    """
    streams: dict[str, list[tuple[str, str, Mapping[str, str]]]] = defaultdict(list)
    for each in sorted((*_run(found), *(_request(found.facts.name, each) for each in shown)), key=lambda each: each.at):
        streams[each.level].append((f"{round(each.at * 1e6)}000", _line(each), {"trace_id": each.trace_id}))
    labels = {"service_name": _SERVICE, "instance": _INSTANCE}
    body = [{"stream": labels | {"level": level}, "values": values} for level, values in streams.items()]
    loki.post(_PUSH, {"streams": body})


def _line(told: Told) -> str:
    about = {"service": _SERVICE, "instance": _INSTANCE, "logger": "triage", "trace_id": told.trace_id, "span_id": "-"}
    return harmless_line(
        {"timestamp": rfc3339(told.at), "level": told.level, **about, "message": told.message, **told.fields}
    )


def _run(found: Verdict) -> Iterable[Told]:
    facts, overall, window = found.facts, found.measured.overall, found.window
    run = {"run": facts.name}
    plan = {name: getattr(facts, name) for name in ("host", "profile", "loop", "seconds", "rate", "workers")}
    yield Told(facts.began, "info", "Run started", "-", {"event": "run.started", **run, **plan})
    made = {"requests": overall.requests if overall else 0, "failures": overall.failures if overall else 0}
    if facts.ended is not None:
        ended = {"event": "run.stopped", **run, **made, "interrupted": facts.interrupted}
        yield Told(facts.ended, "info", "Run stopped", "-", ended)
    times = {name: overall and getattr(overall, name) for name in ("p50_ms", "p95_ms", "p99_ms")}
    yield Told(
        window.end,
        "info" if found.word is Word.PASS else "warning",
        f"Run {found.word}",
        "-",
        {
            "event": "run.verdict",
            **run,
            "verdict": found.word,
            **{name: plan[name] for name in ("profile", "loop", "rate")},
            "achieved_rate": round(found.achieved_rate, 3),
            **made,
            **times,
            "from": round(window.start * 1000),
            "to": round(window.end * 1000),
            "why": found.why,
        },
    )


def _request(run: str, shown: Shown) -> Told:
    sent = shown.timed.sent
    fields: dict[str, object] = {"event": "run.slow", "run": run, "why": shown.why}
    fields |= {name: getattr(sent, name) for name in ("request_id", "method", "route", "status", "client_ms")}
    fields |= {"server_ms": shown.timed.server_ms, "difference_ms": shown.timed.difference_ms}
    level = "warning" if shown.why == "failed" else "info"
    message = "A request of the run failed" if shown.why == "failed" else "A request of the run was slow"
    return Told(sent.at, level, message, sent.trace_id or "-", fields)
