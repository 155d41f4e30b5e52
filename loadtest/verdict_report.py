"""The verdict on a load run for the terminal, as JSON, and as Markdown for a pull request."""

import re
from collections.abc import Iterable, Mapping, Sequence

from loadtest.verdict import (
    Check,
    ListedRequest,
    Verdict,
    Word,
    count_differences,
    count_unlisted,
    format_value,
    listed_requests,
)
from triage import console, reconcile
from triage.console import Console, sanitize
from triage.links import trace_logs_url
from triage.timestamps import clock, rfc3339

_COLOURS = {Word.PASS: "bold green", Word.FAIL: "bold red", Word.INVALID: "bold yellow"}
_SIGNS = {Word.PASS: "✅", Word.FAIL: "❌", Word.INVALID: "⚠️"}
_COLUMNS = ("sent at", "", "request id", "route", "status", "client ms", "server ms", "difference", "lines")
_CODE_COLUMNS = frozenset({"request id", "route"})
_MAX_IDS = 50  # per difference, in JSON
_NOT_SPECIAL = re.compile(r"[A-Za-z0-9 /{}.:_-]*[A-Za-z0-9/{}.:_-]", re.ASCII)
# Characters with a meaning in Markdown, in HTML, or in the links and mentions that GitHub recognizes.
_SPECIAL = re.compile(r"(?!\.(?:\s|\d|$)|:[\s\d])[^0-9A-Za-z /,;%()\u0080-\U0010ffff-]")


def show(found: Verdict, grafana: str, out: Console) -> None:
    """Print the verdict, its checks, and the listed requests with links to their lines."""
    out.line(f"Run {found.plan.name} of {found.plan.host}: ", (found.word, _COLOURS[found.word]))
    out.line(f"  {_summary(found)}.")
    for reason in found.reasons:
        out.line("  ", (reason, "yellow"))
    out.line()
    out.table(
        [
            (
                check.where,
                check.what,
                format_value(check.what, check.measured),
                _threshold(check),
                ("ok", "green") if check.ok else ("not met", "bold red"),
            )
            for check in found.checks
        ],
        right=(2,),
    )
    for note in _notes(found):
        out.line(f"  {note}")
    if found.reconciliation is not None and count_differences(found.reconciliation):
        out.line()
        reconcile.show(found.reconciliation, out)
    listed = listed_requests(found)
    if listed:
        out.line()
        out.line(("Slowest and failed requests", "bold"))
        out.table([(*_cells(each), _link(each, grafana) or each.without) for each in listed], _COLUMNS, (5, 6, 7))
    if unlisted := count_unlisted(found):
        out.line(f"  ... and {unlisted:,} more that failed")


def _summary(found: Verdict) -> str:
    plan, overall = found.plan, found.measured.overall
    made = "no request" if overall is None else f"{overall.requests:,} requests, of which {overall.failures:,} failed"
    return (
        f"Profile {plan.profile}, {plan.loop} loop, {plan.seconds:,.0f} s: {made}; "
        f"{found.achieved_rate:,.1f} of {plan.rate:,.1f} planned per second"
    )


def _threshold(check: Check) -> str:
    return f"at {'least' if check.at_least else 'most'} {format_value(check.what, check.threshold)}"


def _notes(found: Verdict) -> Iterable[str]:
    busiest = max((each.cpu for each in found.generators if each.cpu is not None), default=None)
    if busiest is not None:
        yield f"The busiest generator used {busiest:.0%} of its core over five seconds."
    if found.reconciliation is None:
        yield "The stack was not queried: logs and metrics were not compared with the requests that were sent."
        return
    for gap in found.reconciliation.gaps:
        yield "".join(reconcile.describe_gap(gap))


def _cells(listed: ListedRequest) -> Sequence[str]:
    sent, request = listed.request.sent, listed.request
    times = (sent.client_ms, request.server_ms, request.difference_ms)
    return (
        clock(sent.at),
        listed.why,
        sent.request_id,
        f"{sent.method} {sent.route}",
        sent.status or "no answer",
        *("-" if each is None else f"{each:,.1f}" for each in times),
    )


def _link(listed: ListedRequest, grafana: str) -> str | None:
    """Return the address of the request's lines, around its end."""
    sent = listed.request.sent
    return None if listed.without else trace_logs_url(grafana, sent.trace_id, sent.at + sent.client_ms / 1000)


def to_json(found: Verdict, grafana: str) -> str:
    """Return the verdict as JSON."""
    measured, window = found.measured, found.window
    value = {
        "run": found.plan.name,
        "verdict": found.word,
        "why": found.why,
        "reasons": found.reasons,
        **{name: getattr(found.plan, name) for name in ("host", "profile", "loop", "seconds", "rate", "workers")},
        "achieved_rate": round(found.achieved_rate, 3),
        "from": rfc3339(window.start),
        "to": rfc3339(window.end),
        "checks": [{**check._asdict(), "ok": check.ok} for check in found.checks],
        "overall": measured.overall and measured.overall._asdict(),
        "routes": {route: each._asdict() for route, each in measured.routes.items()},
        "generators": [each._asdict() for each in found.generators],
        "reconciliation": _reconciliation_json(found),
        "dead_links": None if found.dead is None else sorted(found.dead),
        "requests": [_request_json(each, grafana) for each in listed_requests(found)],
        "failed_left_out": count_unlisted(found),
    }
    return f"{console.to_json(value)}\n"


def _reconciliation_json(found: Verdict) -> Mapping[str, object] | None:
    result = found.reconciliation
    if result is None:
        return None
    what = [(each.what, each.ids) for each in (result.sent.differences if result.sent else ())]
    what += [
        (f"counted by {each.instance}", each.ids) for each in (result.counted.differences if result.counted else ())
    ]
    return {
        "differences": count_differences(result),
        "what": [{"what": each, "number": len(ids), "ids": ids[:_MAX_IDS]} for each, ids in what],
        "unknown": reconcile.gaps_as_json(result.gaps),
    }


def _request_json(listed: ListedRequest, grafana: str) -> Mapping[str, object]:
    sent, request = listed.request.sent, listed.request
    return {
        "why": listed.why,
        "at": rfc3339(sent.at),
        **{name: getattr(sent, name) for name in ("request_id", "trace_id", "method", "route", "status", "client_ms")},
        "server_ms": request.server_ms,
        "difference_ms": request.difference_ms,
        "link": _link(listed, grafana),
        "without": listed.without or None,
    }


def to_markdown(found: Verdict, grafana: str) -> str:
    """Return the verdict as GitHub's Markdown; routes and ids are escaped so that they remain plain text."""
    return "\n".join(_markdown_lines(found, grafana)) + "\n"


def _markdown_lines(found: Verdict, grafana: str) -> Iterable[str]:
    yield f"### {_SIGNS[found.word]} {found.word}: load run {_code(found.plan.name)} of {_code(found.plan.host)}"
    yield ""
    yield f"{_plain(_summary(found))}."
    yield ""
    for sentence in (*found.reasons, *_notes(found)):
        yield f"- {_plain(sentence)}"
    yield ""
    yield from _markdown_table(
        ("check", "measured", "threshold", ""),
        (
            (
                _code(f"{check.where} {check.what}"),
                format_value(check.what, check.measured),
                _threshold(check),
                "ok" if check.ok else "**not met**",
            )
            for check in found.checks
        ),
    )
    listed = listed_requests(found)
    if not listed:
        return
    yield ""
    yield "<details><summary>Slowest and failed requests</summary>"
    yield ""
    rows = []
    for each in listed:
        cells = [
            (_code if column in _CODE_COLUMNS else _plain)(cell)
            for column, cell in zip(_COLUMNS[:-1], _cells(each), strict=True)
        ]
        link = _link(each, grafana)
        rows.append((*cells, f"[lines]({link})" if link else each.without))
    yield from _markdown_table(_COLUMNS, rows)
    yield ""
    if unlisted := count_unlisted(found):
        yield f"... and {unlisted:,} more that failed"
        yield ""
    yield "</details>"


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    for cells in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Return a text as code: as HTML if it contains special characters, which backticks would not escape."""
    safe = sanitize(text)
    return f"`{safe}`" if _NOT_SPECIAL.fullmatch(safe) else f"<code>{_plain(safe)}</code>"


def _plain(text: str) -> str:
    """Return a text with all special characters as numeric character references."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", sanitize(text))
