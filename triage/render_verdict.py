"""`triage verdict` on the terminal, and for machines."""

from collections.abc import Iterable, Mapping, Sequence

from triage import render_reconcile
from triage.moments import rfc3339
from triage.screen import Piece, Screen
from triage.verdict import Check, Verdict, Word, differences, number
from triage.worst import COLUMNS, Shown, left_out, worst

_COLOURS = {Word.PASS: "bold green", Word.FAIL: "bold red", Word.INVALID: "bold yellow"}
_MOST_IDS = 50  # of one difference, for machines


def summary(found: Verdict) -> str:
    """Say in a line what the run was."""
    facts, overall = found.facts, found.measured.overall
    made = "no request" if overall is None else f"{overall.requests:,} requests, of which {overall.failures:,} failed"
    return (
        f"Profile {facts.profile}, {facts.loop} loop, {facts.seconds:,.0f} s: {made}; "
        f"{found.achieved_rate:,.1f} of {facts.rate:,.1f} planned each second"
    )


def threshold(check: Check) -> str:
    """Say what a check wants."""
    return f"at {'least' if check.at_least else 'most'} {number(check.what, check.threshold)}"


def show(found: Verdict, grafana: str, screen: Screen) -> None:
    """Show the answer, what it is made of, and the requests that are worth a look."""
    screen.line(f"Run {found.facts.name} of {found.facts.host}: ", (found.word, _COLOURS[found.word]))
    screen.line(f"  {summary(found)}.")
    for reason in found.reasons:
        screen.line("  ", (reason, "yellow"))
    screen.line()
    screen.table([_check(check) for check in found.checks], right=(2,))
    _beside(found, screen)
    shown = worst(found, grafana)
    if shown:
        screen.line()
        screen.line(("Its slowest and its failed requests", "bold"))
        rows: list[Sequence[Piece]] = [(*COLUMNS, "lines")]
        rows += [(*each.cells, each.link or each.without) for each in shown]
        screen.table(rows, right=(5, 6, 7))
    if more := left_out(found):
        screen.line(f"  ... and {more:,} more that failed")


def _check(check: Check) -> Sequence[Piece]:
    kept = ("ok", "green") if check.ok else ("not kept", "bold red")
    return check.where, check.what, number(check.what, check.measured), threshold(check), kept


def _beside(found: Verdict, screen: Screen) -> None:
    for note in notes(found):
        screen.line(f"  {note}")
    if found.reconciliation is not None and differences(found.reconciliation):
        screen.line()
        render_reconcile.show(found.reconciliation, screen)


def notes(found: Verdict) -> Iterable[str]:
    """Yield what else a reader has to know."""
    busiest = max((each.cpu for each in found.generators if each.cpu is not None), default=None)
    if busiest is not None:
        yield f"The busiest generator took {busiest:.0%} of its core over five seconds."
    if found.reconciliation is None:
        yield "The stack was not asked: neither the logs nor the metrics were compared with what was sent."
        return
    for gap in found.reconciliation.gaps:
        yield (
            f"Unknown between {rfc3339(gap.start)} and {rfc3339(gap.end)}: {gap.instance} was killed; "
            "what it had not written went with it."
        )


def as_json(found: Verdict, grafana: str) -> Mapping[str, object]:
    """Return what a machine wants to know."""
    measured, window = found.measured, found.window
    return {
        "run": found.facts.name,
        "verdict": found.word,
        "why": found.why,
        "reasons": found.reasons,
        **{name: getattr(found.facts, name) for name in ("host", "profile", "loop", "seconds", "rate", "workers")},
        "achieved_rate": round(found.achieved_rate, 3),
        "from": rfc3339(window.start),
        "to": rfc3339(window.end),
        "checks": [{**check._asdict(), "ok": check.ok} for check in found.checks],
        "overall": measured.overall and measured.overall._asdict(),
        "routes": {route: each._asdict() for route, each in measured.routes.items()},
        "generators": [each._asdict() for each in found.generators],
        "reconciliation": _reconciled(found),
        "dead_links": None if found.dead is None else sorted(found.dead),
        "requests": [_request(each) for each in worst(found, grafana)],
        "failed_left_out": left_out(found),
    }


def _reconciled(found: Verdict) -> Mapping[str, object] | None:
    told = found.reconciliation
    if told is None:
        return None
    what = [(each.what, each.ids) for each in (told.sent.differences if told.sent else ())]
    what += [(f"counted by {each.instance}", each.ids) for each in (told.counted.differences if told.counted else ())]
    return {
        "differences": differences(told),
        "what": [{"what": words, "number": len(ids), "ids": ids[:_MOST_IDS]} for words, ids in what],
        "unknown": [
            {"instance": gap.instance, "from": rfc3339(gap.start), "to": rfc3339(gap.end)} for gap in told.gaps
        ],
    }


def _request(shown: Shown) -> Mapping[str, object]:
    sent = shown.timed.sent
    return {
        "why": shown.why,
        "at": rfc3339(sent.at),
        **{name: getattr(sent, name) for name in ("request_id", "trace_id", "method", "route", "status", "client_ms")},
        "server_ms": shown.timed.server_ms,
        "difference_ms": shown.timed.difference_ms,
        "link": shown.link,
        "without": shown.without or None,
    }
