"""Push a load run and its verdict to Loki, so that Grafana shows it next to the service's lines."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from loadtest.verdict import ListedRequest, Verdict, Word, listed_requests
from triage.console import to_json
from triage.stores.client import HttpClient
from triage.timestamps import rfc3339

_PATH = "/loki/api/v1/push"
_SERVICE, _INSTANCE = "loadtest", "triage"


class _LogLine(NamedTuple):
    at: float
    level: str
    message: str
    trace_id: str
    fields: Mapping[str, object]


def push_verdict(loki: HttpClient, found: Verdict) -> None:
    """Push the run, its verdict and its listed requests; raise `StoreError` if Loki does not accept them.

    It may be repeated: Loki drops lines that it already has.
    """
    lines = [*_run_lines(found), *(_request_line(found.plan.name, each) for each in listed_requests(found))]
    streams: dict[str, list[tuple[str, str, Mapping[str, str]]]] = defaultdict(list)
    for each in sorted(lines, key=lambda each: each.at):
        streams[each.level].append(
            (f"{round(each.at * 1e6)}000", _json_line(each), {"trace_id": each.trace_id, "instance": _INSTANCE})
        )
    body = [
        {"stream": {"service_name": _SERVICE, "level": level}, "values": values} for level, values in streams.items()
    ]
    loki.post(_PATH, {"streams": body})


def _json_line(line: _LogLine) -> str:
    ids = {"service": _SERVICE, "instance": _INSTANCE, "logger": "triage", "trace_id": line.trace_id, "span_id": "-"}
    fields = {"timestamp": rfc3339(line.at), "level": line.level, **ids, "message": line.message, **line.fields}
    return to_json(fields, indent=None)


def _run_lines(found: Verdict) -> Iterable[_LogLine]:
    plan, overall, window = found.plan, found.measured.overall, found.window
    run = {"run": plan.name}
    planned = {name: getattr(plan, name) for name in ("host", "profile", "loop", "seconds", "rate", "workers")}
    yield _LogLine(plan.began, "info", "Run started", "-", {"event": "run.started", **run, **planned})
    made = {"requests": overall.requests if overall else 0, "failures": overall.failures if overall else 0}
    if plan.ended is not None:
        stopped = {"event": "run.stopped", **run, **made, "interrupted": plan.interrupted}
        yield _LogLine(plan.ended, "info", "Run stopped", "-", stopped)
    quantiles = {name: overall and getattr(overall, name) for name in ("p50_ms", "p95_ms", "p99_ms")}
    yield _LogLine(
        window.end,
        "info" if found.word is Word.PASS else "warning",
        f"Run {found.word}",
        "-",
        {
            "event": "run.verdict",
            **run,
            "verdict": found.word,
            **{name: planned[name] for name in ("profile", "loop", "rate")},
            "achieved_rate": round(found.achieved_rate, 3),
            **made,
            **quantiles,
            "from": round(window.start * 1000),
            "to": round(window.end * 1000),
            "why": found.why,
        },
    )


def _request_line(run: str, listed: ListedRequest) -> _LogLine:
    sent, request = listed.request.sent, listed.request
    fields: dict[str, object] = {"event": "run.slow", "run": run, "why": listed.why}
    fields |= {name: getattr(sent, name) for name in ("request_id", "method", "route", "status", "client_ms")}
    fields |= {"server_ms": request.server_ms, "difference_ms": request.difference_ms}
    level = "warning" if listed.why == "failed" else "info"
    message = "A request of the run failed" if listed.why == "failed" else "A request of the run was slow"
    return _LogLine(sent.at, level, message, sent.trace_id or "-", fields)
