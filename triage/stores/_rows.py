"""From rows of DuckDB to what the questions are told."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from triage.model import Exemplar, Histogram, Line, Scrape, Series
from triage.tally import Counts, Field, Value

Row = tuple[Any, ...]


def line(at: float, text: str) -> Line | None:
    """Return a line, or None if its JSON is beyond what Python reads: numbers of thousands of digits, deep nesting."""
    try:
        return Line(at, json.loads(text, parse_constant=str))
    except (ValueError, RecursionError):
        return None


def decoded(text: str | None) -> Any:  # noqa: ANN401 - whatever JSON is
    """Return what a piece of JSON says; of what is none, or beyond what Python reads, None."""
    try:
        return json.loads(text or "null", parse_constant=str)
    except (ValueError, RecursionError):
        return None


def counts(row: Sequence[int]) -> Counts:
    """Return the four numbers that the queries have in this order."""
    slow_a, slow_b, fast_a, fast_b = row
    return Counts((slow_a, slow_b), (fast_a, fast_b))


def fields(present: Iterable[Row], values: Iterable[Row]) -> tuple[Field, ...]:
    """Return fields with their values, both by name."""
    telling: dict[str, list[Value]] = {}
    for name, text, *cells in values:
        telling.setdefault(name, []).append(Value(text, counts(cells)))
    return tuple(
        Field(name, distinct, counts(cells), tuple(telling.get(name, ()))) for name, distinct, *cells in present
    )


def scrapes(rows: Iterable[Row]) -> list[Scrape]:
    """Put samples together: of one instance at one time, by labels."""
    found: dict[tuple[float, str], dict[Series, Histogram]] = {}
    for at, instance, method, route, status, bound, value, exemplar in rows:
        of_instance = found.setdefault((at, instance), {})
        series = Series(method or "", route or "", status or "")
        histogram = of_instance.setdefault(series, Histogram({}, {}))
        # Whatever other labels there are, their series are added up.
        histogram.buckets[bound] = histogram.buckets.get(bound, 0.0) + value  # type: ignore[index]
        if (named := _exemplar(exemplar)) is not None:
            histogram.exemplars[bound] = named  # type: ignore[index]
    return [Scrape(at, instance, series) for (at, instance), series in found.items()]


def totals(told: Any) -> Mapping[tuple[str, str], int] | None:  # noqa: ANN401 - whatever a line says
    """Return what a process that stopped had counted, by route and status; None if it does not say."""
    try:
        return {(route, status): int(count) for route, of in told.items() for status, count in of.items()}
    except (ValueError, TypeError, AttributeError):
        return None


def _exemplar(text: str | None) -> Exemplar | None:
    try:
        facts = json.loads(text or "null")
        at, value = float(facts["timestamp"]), float(facts["value"])
        return Exemplar(str(facts["trace_id"]), str(facts["span_id"]), value, at)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
