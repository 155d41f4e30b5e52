"""Slow and fast requests, counted by the values of their fields."""

from collections.abc import Mapping
from typing import NamedTuple

from triage.model import Line


class Counts(NamedTuple):
    """Slow and fast requests, in each of two halves."""

    slow: tuple[int, int] = (0, 0)
    fast: tuple[int, int] = (0, 0)


class Value(NamedTuple):
    """One value of a field, as JSON, or None where the field is absent; and the requests that have it."""

    json: str | None
    counts: Counts


class Field(NamedTuple):
    """One field: how many values it has, in which requests it is, and the values that may tell something."""

    name: str
    distinct: int
    present: Counts
    values: tuple[Value, ...]


class Tally(NamedTuple):
    """Slow against fast finished requests of a window, field by field.

    `fields` has those values only that two requests or more have, and one of them slow. `sums` is of every field whose
    name ends in `_ms`: of the slow requests, and of the fast ones. `slowest` comes first in `slow_lines`.
    """

    counts: Counts
    fields: tuple[Field, ...]
    sums: Mapping[str, tuple[float, float]]
    slow_lines: tuple[Line, ...]
