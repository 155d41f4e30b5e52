"""Whether the walk can be trusted: what it rests on, checked with the files of one run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from demo import counts, exemplars
from demo.evidence import Evidence, read

_SHOWN = 5  # of what is wrong with one check


class Check(NamedTuple):
    """One promise with its figures, and what contradicts it."""

    promise: str
    wrong: Sequence[str]


def check(folder: Path) -> list[Check]:
    """Return the checks of the run in `folder`; `DemoError` if there is none."""
    evidence = read(folder)
    return [_dots(evidence), _ids(evidence), _counters(evidence)]


def tell(console: Console, folder: Path) -> bool:
    """Print the checks, and return whether all hold."""
    checks = check(folder)
    for promise, wrong in checks:
        console.print(f"[red]no[/] {promise}" if wrong else f"[green]ok[/] {promise}", highlight=False)
        for trouble in wrong[:_SHOWN]:
            console.print(f"   {trouble}", highlight=False, markup=False, soft_wrap=True)
        if len(wrong) > _SHOWN:
            console.print(f"   ... and {len(wrong) - _SHOWN} more", highlight=False)
    return not any(wrong for _, wrong in checks)


def _dots(evidence: Evidence) -> Check:
    dots = exemplars.exemplars(evidence.samples)
    buckets = len({dot.upto for dot in dots})
    return Check(
        f"{len(dots)} exemplars in {buckets} buckets: each leads to one line, with its duration to the microsecond",
        list(exemplars.wrong(evidence, dots)),
    )


def _ids(evidence: Evidence) -> Check:
    promise = (
        f"{len(evidence.sent)} requests were sent: each has one line, with the ids, route and status that the load saw"
    )
    return Check(promise, list(counts.ids_wrong(evidence)))


def _counters(evidence: Evidence) -> Check:
    lines = sum(map(len, evidence.finished.values()))
    promise = f"{lines} lines say that a request is finished: as many were counted, by service, route and status"
    return Check(promise, list(counts.counters_wrong(evidence)))
