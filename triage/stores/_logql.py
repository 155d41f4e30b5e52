"""What Loki is asked, and how it answers: lines."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from triage.model import Exemplar, Line, Window
from triage.stores._http import Server
from triage.stores._promql import quoted

_MOST = 5_000  # lines of an answer; Loki's own limit, too
_NS = 10**9
_SLICE, _LONGEST = 60 * _NS, 6 * 3600 * _NS
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
    start, end = (f"{round(seconds * _NS)}" for seconds in window)
    answer = server.json(
        "/loki/api/v1/query_range", query=query, start=start, end=end, limit=most, direction="backward"
    )
    with server.understood():
        found = [entry for stream in answer["data"]["result"] for entry in stream["values"]]
        texts = sorted((int(entry[0]), str(entry[1])) for entry in found)
    return [Line(at / _NS, said) for at, text in texts if (said := _fields(text)) is not None]


def pages(server: Server, query: str, window: Window) -> Iterator[tuple[float, str]]:
    """Yield the time and the text of every line that a query finds, in order, however many there are."""
    begin, end = round(window.start * _NS), round(window.end * _NS) + 1
    length = _SLICE
    while begin < end:
        # In slices, for one that has too much to search is never answered; longer ones where there is little.
        until = min(begin + length, end)
        page = _page(server, query, begin, until)
        length = min(2 * length, _LONGEST) if len(page) < _MOST // 4 else _SLICE
        # The lines of the last moment may be cut off, so they are asked for again; unless there is no other moment.
        whole = page if len(page) < _MOST or page[0][0] == page[-1][0] else _without_last(page)
        yield from ((at / _NS, text) for at, text in whole)
        begin = until if len(page) < _MOST else page[-1][0] + (whole is page)


def every(server: Server, query: str, window: Window) -> Iterator[Line]:
    """Yield every line that a query finds, in order; those that are no JSON objects are left out."""
    for at, text in pages(server, query, window):
        if (said := _fields(text)) is not None:
            yield Line(at, said)


def _page(server: Server, query: str, begin: int, end: int) -> Sequence[tuple[int, str]]:
    answer = server.json(
        "/loki/api/v1/query_range", query=query, start=f"{begin}", end=f"{end}", limit=_MOST, direction="forward"
    )
    with server.understood():
        return sorted((int(at), str(text)) for each in answer["data"]["result"] for at, text, *_ in each["values"])


def _without_last(page: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    return list(takewhile(lambda entry: entry[0] < page[-1][0], page))


def _fields(text: str) -> dict[str, object] | None:
    """Return what a line says, or None if it is no JSON object."""
    try:
        said = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
