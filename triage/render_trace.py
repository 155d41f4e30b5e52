"""`triage trace` on the terminal, and for machines."""

import json
from collections.abc import Mapping

from triage.model import Line
from triage.moments import clock, rfc3339
from triage.screen import Piece, Screen
from triage.trace import Breakdown, Story

_LEVELS = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
_COLOURS = ("red", "magenta", "cyan", "yellow", "blue", "green")
_WIDTH = 40  # characters of a bar
# Told elsewhere on the line, the same in all lines, or of no use to a reader.
_SAID = frozenset(
    {"timestamp", "level", "service", "instance", "logger", "trace_id", "span_id", "message", "event", "route"}
    | {"method", "run", "request_id", "outcome"}
)


def show(story: Story, screen: Screen) -> None:
    """Show the lines in order, and where the time went."""
    traced = story.traced
    ids = ", ".join(traced.trace_ids)
    screen.line("Trace ", (ids, "bold"), "" if story.asked in traced.trace_ids else f" of request {story.asked}")
    if traced.lines:
        screen.line(f"{rfc3339(traced.lines[0].at)}, {len(traced.lines)} lines")
    screen.line()
    screen.table([_row(line) for line in traced.lines])
    if traced.left_out:
        screen.line(f"  ... and {traced.left_out} more lines")
    for breakdown in story.breakdowns:
        screen.line()
        _bar(breakdown, screen)


def _row(line: Line) -> list[Piece]:
    fields = line.fields
    level = text(fields.get("level", ""))
    style = _LEVELS.get(level, "")
    where = " ".join(text(fields[name]) for name in ("method", "route") if name in fields)
    more = "  ".join(f"{name}={text(value)}" for name, value in fields.items() if name not in _SAID)
    return [
        (clock(line.at), "dim"),
        (text(fields.get("service", "")), "cyan"),
        (level, style),
        where,
        (text(fields.get("message", fields.get("event", ""))), style),
        (more, "dim"),
    ]


def text(value: object) -> str:
    """Return a field's value as a person reads it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bar(breakdown: Breakdown, screen: Screen) -> None:
    fields = breakdown.line.fields
    where = " ".join(text(fields.get(name, "")) for name in ("service", "method", "route", "status"))
    screen.line((where, "bold"), f"  {breakdown.duration_ms:,.1f} ms")
    total = max(breakdown.duration_ms, sum(each for _, each in breakdown.parts)) or 1.0
    for number, (name, spent) in enumerate(breakdown.parts):
        filled = round(spent / total * _WIDTH)
        style = "dim" if name == "rest" else _COLOURS[number % len(_COLOURS)]
        label = name.removesuffix("_ms").replace("_", " ")
        screen.line(
            f"  {label[:20]:<20} ",
            ("█" * filled, style),
            " " * (_WIDTH - filled),
            f"{spent:>11,.1f} ms {spent / total:>5.0%}",
        )


def as_json(story: Story) -> Mapping[str, object]:
    """Return what a machine wants to know."""
    return {
        "asked": story.asked,
        "trace_ids": story.traced.trace_ids,
        "lines": [line.fields for line in story.traced.lines],
        "left_out": story.traced.left_out,
        "breakdowns": [
            {
                "span_id": each.line.fields.get("span_id"),
                "service": each.line.fields.get("service"),
                "duration_ms": each.duration_ms,
                "parts": dict(each.parts),
            }
            for each in story.breakdowns
        ],
    }
