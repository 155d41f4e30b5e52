"""The files of a run, as they are: lines of JSON, told apart by their event."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from demo.children import DemoError

Line = dict[str, Any]


class Evidence(NamedTuple):
    """What the services wrote and showed; requests by service, trace id and span id."""

    finished: dict[tuple[str, str, str], list[Line]]
    spans: dict[tuple[str, str], list[Line]]
    samples: list[Line]
    faults: list[Line]


def read(folder: Path) -> Evidence:
    """Read the files of a run; `DemoError` if there are none."""
    found = Evidence(defaultdict(list), defaultdict(list), [], [])
    for line in _lines(folder):
        event = line.get("event")
        if event == "metric.sample":
            found.samples.append(line)
        elif line.get("span_id", "-") != "-":
            found.spans[line["service"], line["span_id"]].append(line)
        if event == "request.finished":
            found.finished[line["service"], line["trace_id"], line["span_id"]].append(line)
        elif event == "fault.started":
            found.faults.append(line)
    if not found.samples or not found.finished:
        msg = f"There is no run in {folder}: no samples, or no lines of requests"
        raise DemoError(msg)
    return found


def _lines(folder: Path) -> Iterator[Line]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue  # the end of a process that was killed
                if isinstance(line, dict):
                    yield line
