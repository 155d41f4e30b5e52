"""What Loki is asked, and how it answers: lines."""

import json
import re
from collections.abc import Sequence

from triage.model import Exemplar, Line, Window
from triage.stores._http import Server
from triage.stores._promql import quoted

_MOST = 5_000  # lines of an answer; Loki's own limit, too
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def is_id(text: str) -> bool:
    """Say whether `text` can be the id of a request: whatever else it is, no query is made of it."""
    return _ID.fullmatch(text) is not None


def of_request(server: Server, request: Exemplar) -> Sequence[Line]:
    """Return the lines of a request's trace, from all services, around its time."""
    around = Window(request.arrived - 60, request.at + 60)
    return lines(server, f'{{service_name=~".+"}} | trace_id={quoted(request.trace_id)}', around)


def lines(server: Server, query: str, window: Window, most: int = _MOST) -> Sequence[Line]:
    """Return the last lines that a query finds, in order; those that are no JSON objects are left out."""
    start, end = (f"{round(seconds * 1e9)}" for seconds in window)
    answer = server.json(
        "/loki/api/v1/query_range", query=query, start=start, end=end, limit=most, direction="backward"
    )
    with server.understood():
        found = [entry for stream in answer["data"]["result"] for entry in stream["values"]]
        texts = sorted((int(entry[0]), str(entry[1])) for entry in found)
    return [Line(at / 1e9, fields) for at, text in texts if (fields := _fields(text)) is not None]


def _fields(text: str) -> dict[str, object] | None:
    try:
        fields = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
