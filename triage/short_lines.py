"""The lines of one request, short enough for a terminal."""

from collections.abc import Sequence

from triage.model import Line
from triage.moments import clock
from triage.screen import Screen

_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
_FACTS = ("statement_ms", "status", "duration_ms", "db_ms")


def show(screen: Screen, lines: Sequence[Line]) -> None:
    """Show when, who, how grave, what, and the few facts that answer most questions."""
    rows = []
    for at, fields in lines:
        style = _COLOURS.get(str(fields.get("level")), "")
        facts = [f"{name}={fields[name]}" for name in _FACTS if name in fields]
        says = " ".join([str(fields.get("message")), *facts])
        rows.append((clock(at), str(fields.get("service")), (str(fields.get("level")), style), (says, style)))
    screen.table(rows)
