"""The tables: least of many rounds, above bare FastAPI."""

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from bench.checks import CHECKS
from bench.variants import BARE, OURS, Variant

_PACKAGES = (
    "fastapi", "starlette", "uvicorn", "httptools", "uvloop", "orjson", "prometheus-client", "python-json-logger",
    "asgi-correlation-id", "prometheus-fastapi-instrumentator", "starlette-exporter",
    "opentelemetry-sdk", "opentelemetry-instrumentation-fastapi", "opentelemetry-exporter-prometheus",
)  # fmt: skip

Rounds = Mapping[str, Sequence[float]]


class Skipped(NamedTuple):
    """What was not measured, and why."""

    what: str
    reason: str


def machine() -> str:
    """Return what a figure depends on, and nothing about whose machine it is."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return f"{os.cpu_count()} cores ({platform.machine()}), {python}; {packages}."


def costs(variants: Iterable[Variant], rounds: Rounds, checks: Mapping[str, Mapping[str, bool]]) -> str:
    """Return the table of what each variant adds, with the checks that it does not pass."""
    bare = _micro(rounds[BARE.name])
    rows = []
    for variant in variants:
        least, middle = _micro(rounds[variant.name]), statistics.median(rounds[variant.name]) * 1e6
        missed = [
            str(number) for number, check in enumerate(CHECKS, 1) if not checks.get(variant.name, {check: 1})[check]
        ]
        rows.append(
            [f"`{variant.name}`", f"{least:.1f}", f"{middle:.1f}", f"**{least - bare:.1f}**", ", ".join(missed) or "-"]
        )
    return table(["variant", "us a request, least", "median", "least above bare", "fails checks"], rows)


def ratio(rounds: Rounds) -> str:
    """Return what ours adds as a share of what each peer adds, the cheapest first."""
    bare = _micro(rounds[BARE.name])
    above = {name: _micro(each) - bare for name, each in rounds.items() if name != BARE.name}
    ours = above.pop(OURS.name)
    shares = [f"{ours / above[name]:.2f} of what `{name}` adds" for name in sorted(above, key=above.__getitem__)]
    return f"`{OURS.name}` adds {', '.join(shares)}." if shares else "No peer was there."


def parts(rounds: Rounds, names: Iterable[str], resting: tuple[float, float]) -> str:
    """Return the table of what each part of ours adds to those above it."""
    before = bare = _micro(rounds[BARE.name])
    rows = []
    for name in names:
        least = _micro(rounds[name])
        rows.append([name, f"{least - before:.1f}", f"{least - bare:.1f}"])
        before = least
    beside = (resting[1] - resting[0]) * 1e6
    rows.append(["beside requests (a heartbeat, if there is one)", f"{beside:.0f} us of CPU each second", ""])
    return table(["part", "us a request", "sum"], rows)


def checked(checks: Mapping[str, Mapping[str, bool]]) -> str:
    """Return the table of what each variant does."""
    rows = [
        [f"{number}. {check}", *("yes" if found[check] else "**no**" for found in checks.values())]
        for number, check in enumerate(CHECKS, 1)
    ]
    return table(["check", *(f"`{name}`" for name in checks)], rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _micro(rounds: Sequence[float]) -> float:
    return min(rounds) * 1e6


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
