"""`triage reconcile` on the terminal, and for machines."""

from collections.abc import Mapping, Sequence

from triage.counted import Counted
from triage.moments import clock, rfc3339
from triage.reconcile import Compared, Reconciliation
from triage.screen import Piece, Screen

_MOST_IDS = 5


def show(found: Reconciliation, screen: Screen) -> None:
    """Show both equalities, and whatever is not equal."""
    _sent(found, screen)
    screen.line()
    _counted(found, screen)
    for gap in found.gaps:
        screen.line()
        told = f"Unknown between {rfc3339(gap.start)} and {rfc3339(gap.end)}"
        screen.line((told, "bold yellow"), f": {gap.instance} was killed; what it had not written went with it.")


def _sent(found: Reconciliation, screen: Screen) -> None:
    compared = found.sent
    if compared is None or found.run is None:
        screen.line(("What the load sent is not here", "bold yellow"), ": no line request.sent.")
        return
    others = f" (the last of {found.others + 1})" if found.others else ""
    screen.line((f"Sent in run {found.run.name}{others} = logged by {found.service}", "bold"))
    rows: list[Sequence[Piece]] = [("", "", "", "sent", "logged")]
    rows += [
        (
            row.method,
            row.route,
            row.status,
            f"{row.sent:,}",
            (f"{row.logged:,}", "" if row.sent == row.logged else "yellow"),
        )
        for row in compared.rows
    ]
    screen.table(rows, right=(3, 4))
    _verdict(not compared.differences, screen)
    for difference in compared.differences:
        screen.line("  ", (difference.what, "red"), f": {_ids(difference.ids)}")
    for told, ids in _notes(compared).items():
        if ids:
            screen.line(f"  {told}: {_ids(ids)}")


def _notes(compared: Compared) -> Mapping[str, tuple[str, ...]]:
    return {
        "the client gave up, which is no mismatch": compared.gave_up,
        "no answer and no line: it never arrived": compared.never_arrived,
        "unknown, while a process was killed": compared.unknown,
    }


def _counted(found: Reconciliation, screen: Screen) -> None:
    counted = found.counted
    if counted is None:
        nowhere = ": no line metric.sample, nor a sample in Prometheus."
        screen.line((f"What {found.service} counted is not here", "bold yellow"), nowhere)
        return
    screen.line((f"Counted by {found.service} = logged by {found.service}", "bold"))
    rows: list[Sequence[Piece]] = [("", "", "counted", "logged")]
    rows += [(row.route, row.status, f"{row.counted:,}", _logged(row.logged, row.edge)) for row in counted.rows]
    screen.table(rows, right=(2, 3))
    _verdict(not counted.differences, screen)
    for each in counted.differences:
        what = f"{each.row.route} {each.row.status}: {each.row.counted:,} counted, {each.row.logged:,} logged"
        since = f" by {each.instance} between {clock(each.start)} and {clock(each.end)}: {_ids(each.ids)}"
        screen.line("  ", (what, "red"), since)
    _beside(counted, screen)


def _logged(logged: int, edge: int) -> str:
    return f"{logged:,}" if not edge else f"{logged:,} to {logged + edge:,}"


def _beside(counted: Counted, screen: Screen) -> None:
    if counted.uncounted:
        screen.line(f"  {counted.uncounted:,} more lines are from when nobody counted.")
    if counted.unscraped:
        screen.line(f"  Never scraped: {', '.join(counted.unscraped)}.")


def _verdict(equal: bool, screen: Screen) -> None:  # noqa: FBT001 - one word is the whole question
    screen.line("  ", ("equal", "green") if equal else ("not equal", "bold red"))


def _ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return f"{len(ids)} ({', '.join(ids[:_MOST_IDS])}{more})"


def as_json(found: Reconciliation) -> Mapping[str, object]:
    """Return what a machine wants to know."""
    return {
        "service": found.service,
        "run": found.run and found.run.name,
        "equal": found.equal,
        "complete": found.complete,
        "sent": found.sent
        and {
            **found.sent._asdict(),
            "rows": [row._asdict() for row in found.sent.rows],
            "differences": [each._asdict() for each in found.sent.differences],
        },
        "counted": found.counted
        and {
            **found.counted._asdict(),
            "rows": [row._asdict() for row in found.counted.rows],
            "differences": [{**each._asdict(), "row": each.row._asdict()} for each in found.counted.differences],
        },
        "unknown": [
            {"instance": gap.instance, "from": rfc3339(gap.start), "to": rfc3339(gap.end)} for gap in found.gaps
        ],
    }
