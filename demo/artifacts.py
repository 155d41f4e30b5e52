"""The files of a run, read back."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.errors import DemoError

Line = dict[str, Any]


@dataclass
class Artifacts:
    """The lines of a run that the report and the checks need."""

    folder: Path
    #: `request.finished` lines by service, trace id and span id; more than one line per key is an error.
    finished: dict[tuple[str, str, str], list[Line]] = field(default_factory=lambda: defaultdict(list))
    #: The trace ids in the lines of each service and span id.
    trace_ids: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    samples: list[Line] = field(default_factory=list)
    #: `fault.started` lines.
    faults: list[Line] = field(default_factory=list)


def read_artifacts(folder: Path) -> Artifacts:
    """Read the files of a run; raise `DemoError` if `folder` has none."""
    artifacts = Artifacts(folder)
    for line in _lines(folder):
        event = line.get("event")
        if event == "metric.sample":
            artifacts.samples.append(line)
        elif line.get("span_id", "-") != "-":
            service, trace_id, span_id = line["service"], line["trace_id"], line["span_id"]
            artifacts.trace_ids[service, span_id].add(trace_id)
            if event == "request.finished":
                artifacts.finished[service, trace_id, span_id].append(line)
        if event == "fault.started":
            artifacts.faults.append(line)
    if not artifacts.samples or not artifacts.finished:
        msg = f"{folder} has no files of a run: there are no samples, or no log lines of requests"
        raise DemoError(msg)
    return artifacts


def _lines(folder: Path) -> Iterator[Line]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue  # a killed process may leave half a line
                if isinstance(line, dict):
                    yield line
