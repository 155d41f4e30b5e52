"""Count finished requests by field and value in memory, as `triage explain` needs them."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from hashlib import md5
from heapq import heappush, heappushpop
from math import isfinite

from triage.models import Counts, Field, FieldCounts, FieldValue, LogLine

_MAX_FIELDS = 1_000  # in case ids are used as field names
_MAX_SLOW_LINES = 50


def count_fields(slow: Iterable[LogLine], fast: Iterable[LogLine], exclude: Sequence[str]) -> FieldCounts:
    """Count slow and fast `request.finished` lines by field and value; `exclude` are globs of field names.

    Lines are read one by one. Only values of slow requests are kept, so memory depends on their number.
    """
    counter = _Counter(exclude)
    for line in slow:
        counter.add(line, slow=True)
    for line in fast:
        counter.add(line, slow=False)
    return counter.result()


class _Counter:
    """Cells are slow requests of the first and of the second half, then the fast ones of each half."""

    def __init__(self, exclude: Sequence[str]) -> None:
        self._exclude = exclude
        self._all = [0, 0, 0, 0]
        self._present: dict[str, list[int]] = {}
        self._values: dict[str, dict[str, list[int]]] = {}
        self._values_of_fast: set[str] = set()  # fields that have other values in fast requests
        self._sums: dict[str, list[float]] = {}
        self._slowest: list[tuple[float, int, LogLine]] = []

    def add(self, line: LogLine, *, slow: bool) -> None:
        duration = _number(line.fields.get("duration_ms"))
        if line.fields.get("event") != "request.finished" or duration is None:
            return
        cell = (0 if slow else 2) + (not _is_first_half(line))
        self._all[cell] += 1
        for name, value in line.fields.items():
            if name.endswith("_ms") and (ms := _number(value)) is not None:
                self._sums.setdefault(name, [0.0, 0.0])[not slow] += ms
            if not any(fnmatchcase(name, pattern) for pattern in self._exclude):
                with suppress(ValueError, RecursionError):  # deep nesting
                    self._add_value(name, json.dumps(value), cell)
        if slow:
            self._keep_slowest(duration, line)

    def _add_value(self, name: str, value: str, cell: int) -> None:
        if name not in self._present:
            if len(self._present) >= _MAX_FIELDS:
                return
            self._present[name] = [0, 0, 0, 0]
            self._values[name] = {}
        self._present[name][cell] += 1
        values = self._values[name]
        if cell < 2:  # noqa: PLR2004 - slow
            values.setdefault(value, [0, 0, 0, 0])[cell] += 1
        elif value in values:
            values[value][cell] += 1
        else:
            self._values_of_fast.add(name)

    def _keep_slowest(self, duration: float, line: LogLine) -> None:
        entry = (duration, -sum(self._all), line)  # of equals, the first one; lines themselves are never compared
        if len(self._slowest) < _MAX_SLOW_LINES:
            heappush(self._slowest, entry)
        else:
            heappushpop(self._slowest, entry)

    def result(self) -> FieldCounts:
        fields = tuple(
            Field(
                name,
                len(self._values[name]) + (name in self._values_of_fast),
                _counts(present),
                tuple(
                    FieldValue(text, _counts(cells))
                    for text, cells in sorted(self._values[name].items())
                    if sum(cells) > 1
                ),
            )
            for name, present in sorted(self._present.items())
        )
        sums = {name: (slow, fast) for name, (slow, fast) in sorted(self._sums.items())}
        slowest = tuple(line for _, _, line in sorted(self._slowest, key=lambda entry: entry[:2], reverse=True))
        return FieldCounts(_counts(self._all), fields, sums, slowest)


def _counts(cells: Sequence[int]) -> Counts:
    return Counts((cells[0], cells[1]), (cells[2], cells[3]))


def _is_first_half(line: LogLine) -> bool:
    """Return the half by the request's id, as DuckDB does for files."""
    own = line.fields.get("span_id") or line.fields.get("timestamp")
    return ord(md5(str(own).encode(errors="replace"), usedforsecurity=False).hexdigest()[0]) % 2 == 0


def _number(value: object) -> float | None:
    """Return a finite number, or None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None
