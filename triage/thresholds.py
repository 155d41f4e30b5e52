"""What a run has to keep to pass: read strictly, so that no slip of a person's pen passes."""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from triage.errors import CannotTellError

#: What may stand in each table; the routes have tables of their own.
OVERALL = ("p50_ms", "p95_ms", "p99_ms", "failures", "achieved")
ROUTE = ("p50_ms", "p95_ms", "p99_ms", "failures")
ONE_EACH = {"reconciliation": "differences", "links": "dead"}

_SHARES = frozenset({"failures", "achieved"})
_COUNTS = frozenset({"differences", "dead"})
_ROUTES = "routes"


class Thresholds(NamedTuple):
    """The thresholds of a file by their names there; what a file does not name is not checked."""

    file: str
    overall: Mapping[str, float]
    routes: Mapping[str, Mapping[str, float]]
    differences: float | None
    dead: float | None

    def need(self, routes: Collection[str]) -> None:
        """Complain about the thresholds of a route that had no request, where others had."""
        had = ", ".join(routes)
        for route in self.routes if had else ():
            if route not in routes:
                msg = f'{self.file}: routes."{route}" had no request in this run; the routes that had some are {had}'
                raise CannotTellError(msg)


def read(file: Path) -> Thresholds:
    """Read a file; `CannotTellError` with its name and the key if anything is not as it should be."""
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        msg = f"Cannot read the thresholds {file}: {exc.strerror}; name others with --thresholds"
        raise CannotTellError(msg) from None
    except (ValueError, RecursionError) as exc:
        msg = f"{file} is no TOML: {exc}"
        raise CannotTellError(msg) from None
    return _Reader(str(file)).thresholds(told)


class _Reader:
    """Reads the tables of one file, and names it in what it says."""

    def __init__(self, file: str) -> None:
        self._file = file

    def thresholds(self, told: Mapping[str, Any]) -> Thresholds:
        self._know("", told, ("overall", _ROUTES, *ONE_EACH))
        routes = self._table(told, _ROUTES)
        return Thresholds(
            self._file,
            self._numbers(told, "overall", OVERALL),
            {route: self._numbers(routes, route, ROUTE, within=f"{_ROUTES}.") for route in routes},
            *(self._numbers(told, table, (key,)).get(key) for table, key in ONE_EACH.items()),
        )

    def _numbers(
        self, told: Mapping[str, Any], name: str, known: Sequence[str], within: str = ""
    ) -> Mapping[str, float]:
        table = self._table(told, name, within)
        shown = f'{within}"{name}".' if within else f"{name}."
        self._know(shown, table, known)
        return {key: self._number(f"{shown}{key}", key, value) for key, value in table.items()}

    def _table(self, told: Mapping[str, Any], name: str, within: str = "") -> Mapping[str, Any]:
        table = told.get(name, {})
        if not isinstance(table, dict):
            self._complain(f"{within}{name}", f"is a table, and not {table!r}")
        return table

    def _know(self, within: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                self._complain(f"{within}{key}", f"is nothing that is checked; there are {', '.join(known)}")

    def _number(self, shown: str, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            self._complain(shown, f"is a number, and not {value!r}")
        if value < 0:
            self._complain(shown, f"is 0 or more, and not {value}")
        if key in _SHARES and value > 1:
            self._complain(shown, f"is a share from 0 to 1, and not {value}")
        if key in _COUNTS and not float(value).is_integer():
            self._complain(shown, f"is a whole number, and not {value}")
        return float(value)

    def _complain(self, key: str, what: str) -> NoReturn:
        msg = f"{self._file}: {key} {what}"
        raise CannotTellError(msg)
