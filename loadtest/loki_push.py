"""Push a load run and its verdict to Loki, so that Grafana shows it next to the service's lines."""

from collections.abc import Iterable

from loadtest.verdict import ListedRequest, Verdict, Word, listed_requests
from triage.stores.client import HttpClient
from triage.stores.loki import NewLine, push_lines

_SERVICE, _INSTANCE = "loadtest", "triage"


def push_verdict(loki: HttpClient, found: Verdict) -> None:
    """Push the run, its verdict and its listed requests; raise `StoreError` if Loki does not accept them.

    It may be repeated: Loki drops lines that it already has.
    """
    requests = (_request_line(found.plan.name, each) for each in listed_requests(found))
    push_lines(loki, _SERVICE, _INSTANCE, [*_run_lines(found), *requests])


def _run_lines(found: Verdict) -> Iterable[NewLine]:
    plan, overall, window = found.plan, found.measured.overall, found.window
    run = {"run": plan.name}
    planned = {name: getattr(plan, name) for name in ("host", "profile", "loop", "seconds", "rate", "workers")}
    yield NewLine(plan.began, "info", "Run started", "-", {"event": "run.started", **run, **planned})
    made = {"requests": overall.requests if overall else 0, "failures": overall.failures if overall else 0}
    if plan.ended is not None:
        stopped = {"event": "run.stopped", **run, **made, "interrupted": plan.interrupted}
        yield NewLine(plan.ended, "info", "Run stopped", "-", stopped)
    quantiles = {name: overall and getattr(overall, name) for name in ("p50_ms", "p95_ms", "p99_ms")}
    yield NewLine(
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


def _request_line(run: str, listed: ListedRequest) -> NewLine:
    sent, request = listed.request.sent, listed.request
    fields: dict[str, object] = {"event": "run.slow", "run": run, "why": listed.why}
    fields |= {name: getattr(sent, name) for name in ("request_id", "method", "route", "status", "client_ms")}
    fields |= {"server_ms": request.server_ms, "difference_ms": request.difference_ms}
    level = "warning" if listed.why == "failed" else "info"
    message = "A request of the run failed" if listed.why == "failed" else "A request of the run was slow"
    return NewLine(sent.at, level, message, sent.trace_id or "-", fields)
