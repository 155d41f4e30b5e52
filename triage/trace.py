"""`triage trace`: the log lines of one request from all services, and where its time went."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from triage.console import Console, Piece
from triage.explain import time_fields
from triage.models import LogLine, TraceLines
from triage.stores import LogStore
from triage.timestamps import clock, rfc3339

_LEVEL_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
_COLOURS = ("red", "magenta", "cyan", "yellow", "blue", "green")
_BAR_WIDTH = 40  # characters
# Shown in columns of their own, the same in all lines, or not useful to a reader.
_HIDDEN = frozenset(
    {"timestamp", "level", "service", "instance", "logger", "trace_id", "span_id", "message", "event", "route"}
    | {"method", "run", "request_id", "outcome"}
)
_SUMMARY_FIELDS = ("statement_ms", "status", "duration_ms", "db_ms")


class Breakdown(NamedTuple):
    """The duration of one finished request, divided into parts and the rest, in milliseconds."""

    line: LogLine
    duration_ms: float
    parts: tuple[tuple[str, float], ...]


class Trace(NamedTuple):
    """The lines with an id, and a breakdown of each request at the first service that it reached."""

    any_id: str
    found: TraceLines
    breakdowns: tuple[Breakdown, ...]


def trace(logs: LogStore, any_id: str) -> Trace:
    """Find the lines with a trace id or a request id; without any, the trace is empty."""
    found = logs.trace(any_id)
    return Trace(any_id, found, tuple(_breakdowns(found.lines)))


def _breakdowns(lines: Sequence[LogLine]) -> Iterable[Breakdown]:
    finished = [
        (line, _milliseconds(line, "duration_ms")) for line in lines if line.fields.get("event") == "request.finished"
    ]
    if not finished:
        return []
    first_service = min(finished, key=lambda each: each[0].at - each[1] / 1000)[0].fields.get("service")
    return [_breakdown(*each) for each in finished if each[0].fields.get("service") == first_service]


def _breakdown(line: LogLine, duration_ms: float) -> Breakdown:
    parts = [(name, _milliseconds(line, name)) for name in time_fields(line.fields)]
    # Parts may overlap, so that their sum is more than the duration.
    rest = max(0.0, duration_ms - sum(each for _, each in parts))
    return Breakdown(line, duration_ms, (*((name, each) for name, each in parts if each > 0), ("rest", rest)))


def _milliseconds(line: LogLine, field: str) -> float:
    value = line.fields.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(min(max(value, 0), 1e15))


def show(result: Trace, console: Console) -> None:
    """Print the lines in order and the breakdowns."""
    found = result.found
    of_request = "" if result.any_id in found.trace_ids else f" of request {result.any_id}"
    console.line("Trace ", (", ".join(found.trace_ids), "bold"), of_request)
    if found.lines:
        console.line(f"{rfc3339(found.lines[0].at)}, {len(found.lines)} lines")
    console.line()
    console.table([_row(line) for line in found.lines])
    if found.left_out:
        console.line(f"  ... and {found.left_out} more lines")
    for breakdown in result.breakdowns:
        console.line()
        _show_breakdown(breakdown, console)


def _row(line: LogLine) -> list[Piece]:
    fields = line.fields
    level = _text(fields.get("level", ""))
    style = _LEVEL_STYLES.get(level, "")
    request = " ".join(_text(fields[name]) for name in ("method", "route") if name in fields)
    others = "  ".join(f"{name}={_text(value)}" for name, value in fields.items() if name not in _HIDDEN)
    return [
        (clock(line.at), "dim"),
        (_text(fields.get("service", "")), "cyan"),
        (level, style),
        request,
        (_text(fields.get("message", fields.get("event", ""))), style),
        (others, "dim"),
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _show_breakdown(breakdown: Breakdown, console: Console) -> None:
    fields = breakdown.line.fields
    request = " ".join(_text(fields.get(name, "")) for name in ("service", "method", "route", "status"))
    console.line((request, "bold"), f"  {breakdown.duration_ms:,.1f} ms")
    total = max(breakdown.duration_ms, sum(each for _, each in breakdown.parts)) or 1.0
    for index, (name, spent) in enumerate(breakdown.parts):
        filled = round(spent / total * _BAR_WIDTH)
        style = "dim" if name == "rest" else _COLOURS[index % len(_COLOURS)]
        label = name.removesuffix("_ms").replace("_", " ")
        console.line(
            f"  {label[:20]:<20} ",
            ("█" * filled, style),
            " " * (_BAR_WIDTH - filled),
            f"{spent:>11,.1f} ms {spent / total:>5.0%}",
        )


def show_lines(lines: Sequence[LogLine], console: Console) -> None:
    """Print lines in short: time, service, level, message and the most important fields."""
    rows: list[list[Piece]] = []
    for at, fields in lines:
        level = str(fields.get("level"))
        style = _LEVEL_STYLES.get(level, "")
        facts = [f"{name}={fields[name]}" for name in _SUMMARY_FIELDS if name in fields]
        message = " ".join([str(fields.get("message")), *facts])
        rows.append([clock(at), str(fields.get("service")), (level, style), (message, style)])
    console.table(rows)


def as_json(result: Trace) -> Mapping[str, object]:
    """Return the JSON output."""
    return {
        "asked": result.any_id,
        "trace_ids": result.found.trace_ids,
        "lines": [line.fields for line in result.found.lines],
        "left_out": result.found.left_out,
        "breakdowns": [
            {
                "span_id": each.line.fields.get("span_id"),
                "service": each.line.fields.get("service"),
                "duration_ms": each.duration_ms,
                "parts": dict(each.parts),
            }
            for each in result.breakdowns
        ],
    }
