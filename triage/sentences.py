"""What a person is told to mend, and what was searched in vain."""

from triage.errors import CannotTellError
from triage.model import Searched, Window
from triage.moments import rfc3339, seconds
from triage.stores import LogStore


def window(start: str | None, end: str | None) -> Window | None:
    """Return the window that a person typed."""
    if start is None and end is None:
        return None
    if start is None or end is None:
        msg = "A window has two ends: give both --from and --to, or neither"
        raise CannotTellError(msg)
    try:
        window = Window(seconds(start), seconds(end))
    except (ValueError, OverflowError):
        msg = "A time is such as 2026-11-23T03:14:00Z; mend --from or --to"
        raise CannotTellError(msg) from None
    if window.start > window.end:
        msg = "The window ends before it begins: exchange --from and --to"
        raise CannotTellError(msg)
    return window


def check(any_id: str) -> None:
    """Complain about what is the id of no request."""
    if any_id in {"", "-"}:
        msg = f"The id {any_id!r} stands for no request: name that of one"
        raise CannotTellError(msg)


def unknown(store: LogStore, any_id: str) -> str:
    """Return what is said of an id that is in no line."""
    return f"Nobody logged the id {any_id!r}: {_searched(store)}"


def need(store: LogStore, service: str) -> None:
    """Complain if there is no line of `service`, or none at all."""
    searched = store.searched()
    if service not in searched.services:
        known = f"there are {', '.join(searched.services)}, choose with --service; " if searched.services else ""
        msg = f"No line of the service {service!r}: {known}{_searched(store, searched)}"
        raise CannotTellError(msg)


def _searched(store: LogStore, known: Searched | None = None) -> str:
    searched = known or store.searched()
    if searched.span is None:
        msg = (
            f"None of the {searched.lines:,} lines in {searched.where} is one of a service: "
            "name files of JSON lines with --jsonl"
        )
        raise CannotTellError(msg)
    unreadable = f", of which {searched.unreadable:,} were not readable," if searched.unreadable else ""
    return (
        f"searched {searched.where} with {searched.lines:,} line{'s' * (searched.lines != 1)}{unreadable} "
        f"from {rfc3339(searched.span.start)} to {rfc3339(searched.span.end)}"
    )
