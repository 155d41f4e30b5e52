"""The tables of the overhead benchmark, in Markdown."""

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
    """A measurement that was skipped, and the reason."""

    what: str
    reason: str


def machine() -> str:
    """Return the CPU, Python and package versions, without anything that identifies the machine."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return f"{os.cpu_count()} cores ({platform.machine()}), {python}; {packages}."


def costs(variants: Iterable[Variant], rounds: Rounds, checks: Mapping[str, Mapping[str, bool]]) -> str:
    """Return the table of the cost of each variant, with the checks that it fails."""
    bare = _micro(rounds[BARE.name])
    rows = []
    for variant in variants:
        minimum, median = _micro(rounds[variant.name]), statistics.median(rounds[variant.name]) * 1e6
        failed = [
            str(number) for number, check in enumerate(CHECKS, 1) if not checks.get(variant.name, {check: 1})[check]
        ]
        rows.append(
            [
                f"`{variant.name}`",
                f"{minimum:.1f}",
                f"{median:.1f}",
                f"**{minimum - bare:.1f}**",
                ", ".join(failed) or "-",
            ]
        )
    return table(["variant", "us per request, minimum", "median", "minimum above bare", "fails checks"], rows)


def ratio(rounds: Rounds) -> str:
    """Return the cost of ours relative to that of each other package, the cheapest first."""
    bare = _micro(rounds[BARE.name])
    above = {name: _micro(each) - bare for name, each in rounds.items() if name != BARE.name}
    ours = above.pop(OURS.name)
    shares = [f"{ours / above[name]:.2f} of `{name}`" for name in sorted(above, key=above.__getitem__)]
    return (
        f"Cost of `{OURS.name}` relative to the others: {', '.join(shares)}."
        if shares
        else "No other package is installed."
    )


def parts(rounds: Rounds, names: Iterable[str], idle: tuple[float, float]) -> str:
    """Return the table of the cost that each part of ours adds to the previous parts."""
    previous = bare = _micro(rounds[BARE.name])
    rows = []
    for name in names:
        minimum = _micro(rounds[name])
        rows.append([name, f"{minimum - previous:.1f}", f"{minimum - bare:.1f}"])
        previous = minimum
    lag_monitor = (idle[1] - idle[0]) * 1e6
    rows.append(["without requests (event loop lag monitor)", f"{lag_monitor:.0f} us of CPU per second", ""])
    return table(["part", "us per request", "sum"], rows)


def checked(checks: Mapping[str, Mapping[str, bool]]) -> str:
    """Return the table of the checks that each variant passes."""
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
