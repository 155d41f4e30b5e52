"""The thresholds of a load run, read strictly so that no mistake in the file makes a run pass."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triage.errors import TriageError

Milliseconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int, Field(ge=0)]


class _Table(BaseModel):
    """A table of the file; keys that are missing are not checked."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    def limits(self) -> Mapping[str, float]:
        """Return the thresholds that are set."""
        return self.model_dump(exclude_none=True)


class RouteThresholds(_Table):
    """Thresholds of one route."""

    p50_ms: Milliseconds | None = None
    p95_ms: Milliseconds | None = None
    p99_ms: Milliseconds | None = None
    failures: Share | None = None


class OverallThresholds(RouteThresholds):
    """Thresholds of all requests."""

    achieved: Share | None = None


class ReconciliationThresholds(_Table):
    """Thresholds of the comparison with logs and metrics."""

    differences: Number | None = None


class LinkThresholds(_Table):
    """Thresholds of the links to log lines."""

    dead: Number | None = None


class Thresholds(_Table):
    """The thresholds of a run, with those of routes by `METHOD route`."""

    overall: OverallThresholds = OverallThresholds()
    routes: Mapping[str, RouteThresholds] = {}
    reconciliation: ReconciliationThresholds = ReconciliationThresholds()
    links: LinkThresholds = LinkThresholds()


def read_thresholds(file: Path) -> Thresholds:
    """Read a TOML file; raise `TriageError` with the file and the key if it is invalid."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        msg = f"Cannot read the thresholds {file}: {exc.strerror}; name another file with --thresholds"
        raise TriageError(msg) from None
    except (ValueError, RecursionError) as exc:
        msg = f"{file} is not valid TOML: {exc}"
        raise TriageError(msg) from None
    try:
        return Thresholds.model_validate(content)
    except ValidationError as exc:
        error = exc.errors()[0]
        key = ".".join(str(part) if str(part).isidentifier() else f'"{part}"' for part in error["loc"])
        problem = "is not a known threshold" if error["type"] == "extra_forbidden" else f"is invalid: {error['msg']}"
        msg = f"{file}: {key} {problem}, got {error['input']!r}"
        raise TriageError(msg) from None


def require_routes(thresholds: Thresholds, routes: Collection[str], file: Path) -> None:
    """Raise `TriageError` if a route with thresholds had no requests, although others had."""
    for route in thresholds.routes if routes else ():
        if route not in routes:
            msg = f'{file}: routes."{route}" had no requests in this run; the routes with requests: {", ".join(routes)}'
            raise TriageError(msg)
