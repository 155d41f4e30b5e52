"""`triage verdict` for a pull request. Whatever a route or an id is made of, it stays a text in its cell."""

import re
from collections.abc import Iterable, Sequence

from triage import render_verdict
from triage.harmless import harmless
from triage.verdict import Verdict, Word, number
from triage.worst import COLUMNS, left_out, worst

_SIGNS = {Word.PASS: "✅", Word.FAIL: "❌", Word.INVALID: "⚠️"}
_PLAIN = re.compile(r"[A-Za-z0-9 /{}.:_-]*[A-Za-z0-9/{}.:_-]", re.ASCII)
_CODE = frozenset({"request id", "route"})
# What may act in Markdown, in HTML, or as a link or a mention that GitHub makes by itself.
_ACTS = re.compile(r"(?!\.(?:\s|\d|$)|:[\s\d])[^0-9A-Za-z /,;%()\u0080-\U0010ffff-]")


def markdown(found: Verdict, grafana: str) -> str:
    """Return the verdict in GitHub's Markdown."""
    return "\n".join(_lines(found, grafana)) + "\n"


def _lines(found: Verdict, grafana: str) -> Iterable[str]:
    yield f"### {_SIGNS[found.word]} {found.word}: load run {code(found.facts.name)} of {code(found.facts.host)}"
    yield ""
    yield f"{prose(render_verdict.summary(found))}."
    yield ""
    for said in (*found.reasons, *render_verdict.notes(found)):
        yield f"- {prose(said)}"
    yield ""
    yield from _table(
        ("check", "measured", "threshold", ""),
        (
            (
                code(f"{check.where} {check.what}"),
                number(check.what, check.measured),
                render_verdict.threshold(check),
                "ok" if check.ok else "**not kept**",
            )
            for check in found.checks
        ),
    )
    shown = worst(found, grafana)
    if not shown:
        return
    yield ""
    yield "<details><summary>Its slowest and its failed requests</summary>"
    yield ""
    yield from _table(
        (*COLUMNS, "lines"),
        (
            (
                *((code if name in _CODE else prose)(cell) for name, cell in zip(COLUMNS, each.cells, strict=True)),
                f"[lines]({each.link})" if each.link else each.without,
            )
            for each in shown
        ),
    )
    yield ""
    if more := left_out(found):
        yield f"... and {more:,} more that failed"
        yield ""
    yield "</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """Return a text as code. Backticks would not keep a cell's bar or a backtick in it, so what has such is HTML."""
    safe = harmless(text)
    return f"`{safe}`" if _PLAIN.fullmatch(safe) else f"<code>{prose(safe)}</code>"


def prose(text: str) -> str:
    """Return a text of which no character is more than that: all that could be is told by its number."""
    return _ACTS.sub(lambda found: f"&#{ord(found[0])};", harmless(text))
