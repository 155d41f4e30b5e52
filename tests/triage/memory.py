"""A store of a list of lines, in the plainest Python: what every other store has to agree with."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from tests.triage.emitting import Line as Raw
from triage.model import (
    Exemplar,
    Finished,
    Histogram,
    Interval,
    Life,
    Line,
    Run,
    Scrape,
    Searched,
    Sent,
    Series,
    Traced,
    Window,
)
from triage.tally import Counts, Field, Tally, Value


def at(raw: Raw) -> float:
    return datetime.fromisoformat(raw["timestamp"]).timestamp()


class MemoryStore:
    """Lines, samples and what the load sent."""

    def __init__(self, lines: Iterable[Raw]) -> None:
        """Hold these lines."""
        self._lines = sorted(lines, key=at)

    def searched(self) -> Searched:
        """Say what there is."""
        services = sorted({raw["service"] for raw in self._lines})
        return Searched(
            "3 files", len(self._lines), 0, tuple(services), Window(at(self._lines[0]), at(self._lines[-1]))
        )

    def trace(self, any_id: str) -> Traced:
        """Return the lines of an id."""
        ids = {any_id} if any(raw.get("trace_id") == any_id for raw in self._lines) else set()
        ids = ids or {raw["trace_id"] for raw in self._lines if raw.get("request_id") == any_id}
        lines = [Line(at(raw), raw) for raw in self._lines if raw.get("trace_id") in ids]
        return Traced(tuple(sorted(ids)), tuple(lines))

    def _finished(self, service: str) -> list[Raw]:
        return [raw for raw in self._lines if raw["service"] == service and raw.get("event") == "request.finished"]

    def rates(self, service: str, slow_ms: float) -> Sequence[Interval]:
        """Count by second and instance."""
        found: dict[tuple[float, str], list[Raw]] = defaultdict(list)
        for raw in self._finished(service):
            found[float(int(at(raw))), raw["instance"]].append(raw)
        rates = []
        for (second, instance), raws in sorted(found.items()):
            arrived = [at(raw) - raw["duration_ms"] / 1000 for raw in raws if raw["duration_ms"] > slow_ms]
            first = min(arrived, default=None)
            rates.append(Interval(second, second + 1, instance, len(raws), len(arrived), first))
        return rates

    def tally(self, service: str, window: Window, slow_ms: float, without: Sequence[str]) -> Tally:
        """Count by field and value."""
        all_counts = _Cells()
        fields: dict[str, dict[str, _Cells]] = defaultdict(lambda: defaultdict(_Cells))
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        slow_lines = []
        for raw in self._finished(service):
            if not window.start <= at(raw) <= window.end:
                continue
            slow = raw["duration_ms"] > slow_ms
            half = ord(hashlib.md5(raw["span_id"].encode(), usedforsecurity=False).hexdigest()[0]) % 2
            all_counts.add(half, slow=slow)
            slow_lines += [Line(at(raw), raw)] if slow else []
            for name, value in raw.items():
                if name.endswith("_ms"):
                    sums[name][not slow] += value
                if not any(fnmatchcase(name, pattern) for pattern in without):
                    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
                    fields[name][text].add(half, slow=slow)
        told = [_field(name, values) for name, values in sorted(fields.items())]
        slow_lines.sort(key=lambda line: (-_duration(line), line.at))
        both = {name: (slow, fast) for name, (slow, fast) in sums.items()}
        return Tally(all_counts.counts(), tuple(told), both, tuple(slow_lines[:50]))

    def finished(self, service: str, prefix: str = "") -> Sequence[Finished]:
        """Return the finished requests."""
        return [
            Finished(at(raw), raw["instance"], raw["trace_id"], raw.get("request_id", ""), raw["method"],
                     raw["route"], str(raw["status"]))
            for raw in self._finished(service) if raw.get("request_id", "").startswith(prefix)
        ]  # fmt: skip

    def lives(self, service: str) -> Sequence[Life]:
        """Return starts and stops."""
        before: dict[str, float] = {}
        lives = []
        for raw in self._lines:
            if raw["service"] == service and raw.get("event") != "metric.sample":
                if raw.get("event") in {"service.started", "service.stopped"}:
                    told = raw.get("totals")
                    totals = told and {(route, status): n for route, of in told.items() for status, n in of.items()}
                    lives.append(Life(at(raw), raw["instance"], raw["event"], before.get(raw["instance"]), totals))
                if raw["trace_id"] != "-":
                    before[raw["instance"]] = at(raw)
        return lives

    def scrapes(self, service: str) -> Sequence[Scrape]:
        """Return what was scraped."""
        samples = [raw for raw in self._lines if raw["service"] == service and raw.get("le") is not None]
        samples.sort(key=lambda raw: (at(raw), raw["instance"]))
        found = []
        for (moment, instance), together in groupby(samples, key=lambda raw: (at(raw), raw["instance"])):
            series: dict[Series, Any] = defaultdict(lambda: Histogram({}, {}))
            for raw in together:
                histogram = series[Series(**raw["labels"])]
                histogram.buckets[float(raw["le"])] = raw["value"]
                if named := raw["exemplar"]:
                    exemplar = Exemplar(named["trace_id"], named["span_id"], named["value"], named["timestamp"])
                    histogram.exemplars[float(raw["le"])] = exemplar
            found.append(Scrape(moment, instance, dict(series)))
        return found

    def runs(self) -> Sequence[Run]:
        """Return the runs."""
        theirs = [raw for raw in self._lines if raw.get("event") == "request.sent"]
        names = dict.fromkeys(raw["run"] for raw in theirs)
        return [Run(name, min(at(raw) for raw in theirs if raw["run"] == name),
                    sum(1 for raw in theirs if raw["run"] == name)) for name in names]  # fmt: skip

    def sent(self, run: str) -> Sequence[Sent]:
        """Return what a run sent."""
        return [
            Sent(at(raw), raw["request_id"], raw["trace_id"], raw["method"], raw["route"],
                 None if raw["status"] is None else str(raw["status"]), raw["client_ms"])
            for raw in self._lines if raw.get("event") == "request.sent" and raw["run"] == run
        ]  # fmt: skip


class _Cells:
    def __init__(self) -> None:
        self.slow, self.fast = [0, 0], [0, 0]

    def add(self, half: int, *, slow: bool) -> None:
        (self.slow if slow else self.fast)[half] += 1

    def counts(self) -> Counts:
        return Counts((self.slow[0], self.slow[1]), (self.fast[0], self.fast[1]))

    @property
    def telling(self) -> bool:
        return sum(self.slow) > 0 and sum(self.slow) + sum(self.fast) > 1


def _field(name: str, values: dict[str, _Cells]) -> Field:
    present = _Cells()
    for cells in values.values():
        for half in (0, 1):
            present.slow[half] += cells.slow[half]
            present.fast[half] += cells.fast[half]
    telling = [Value(text, cells.counts()) for text, cells in sorted(values.items()) if cells.telling]
    return Field(name, len(values), present.counts(), tuple(telling))


def _duration(line: Line) -> float:
    return float(str(line.fields["duration_ms"]))
