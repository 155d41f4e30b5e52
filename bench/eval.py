"""`python -m bench.eval`: whether `triage explain` names the cause of a spike, and none where there is none."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from bench import noisy
from bench.report import table
from demo.errors import DemoError
from demo.processes import API
from demo.report import progress_bar
from demo.run import FAULTS, NO_FAULT, Plan, run
from triage.explain import Explanation, explain
from triage.stores.jsonl import JsonlStore

RESULTS = Path(__file__).with_name("EVAL.md")
_QUIET, _NOISE = "quiet", "noise"
_RUNS = {**dict.fromkeys(FAULTS, 10), _QUIET: 10, _NOISE: 5}
_DURATION, _USERS = 20, 100
_FIELD, _PART = "user_id", "db_ms"

_PAGE = """\
# Whether `triage explain` names the cause

Written by `make eval`. Each run is the demo, {duration} s long with {users} users: real services, real load, and in the
middle a fault for 8 of 200 users. In `{quiet}` runs nothing happens; in `{noise}` runs 3 in 100 requests of any user
wait from 0.6 to 2 s for no reason. Then `triage explain` is asked, which knows nothing of it.

Right is, for a fault: the first cause is `{field}` with users who had the fault and no others, and the largest part of
the latency is `{part}`. For the others: no cause is named.

{summary}

{rows}
"""


class Verdict(NamedTuple):
    """One run, what was found, and whether that is right."""

    kind: str
    seed: int
    right: bool
    spike: str
    cause: str
    part: str


def main() -> None:
    """Run all of them, and write the page."""
    options = _options()
    verdicts = list(_verdicts(options.kinds, options.runs))
    options.output.write_text(_page(verdicts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=_RUNS, default=list(_RUNS), help="which runs (default: all)")
    parser.add_argument("--runs", type=int, help="how many of each (default: 10, of noise 5)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the page to write (default: %(default)s)")
    return parser.parse_args()


def _verdicts(kinds: Iterable[str], runs: int | None) -> Iterator[Verdict]:
    for kind in kinds:
        for seed in range(1, (runs or _RUNS[kind]) + 1):
            try:
                yield _run(kind, seed)
            except DemoError as exc:
                yield Verdict(kind, seed, False, "-", str(exc), "-")  # noqa: FBT003


def _run(kind: str, seed: int) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(_DURATION, _USERS, seed, kind if kind in FAULTS else NO_FAULT, Path(folder))
        os.environ.update(
            {noisy.BEGINS: str(plan.fault_start), noisy.LASTS: str(plan.fault_duration), noisy.SEED: str(seed)}
        )
        run(plan, progress_bar(Console(file=StringIO())), ("-m", "bench.noisy") if kind == _NOISE else API)
        store = JsonlStore([plan.folder])
        found = explain(store, store)
    judge: Callable[[Explanation, Sequence[int]], bool] = _is_right if kind in FAULTS else _is_silent
    spike = "none" if found.spike is None else f"{found.slow} slow, {found.fast} fast"
    part = found.parts[0].name if found.parts else "-"
    return Verdict(kind, seed, judge(found, plan.affected_users), spike, _cause(found, plan.affected_users), part)


def _is_right(found: Explanation, unlucky: Sequence[int]) -> bool:
    if not found.causes or not found.parts:
        return False
    first = found.causes[0]
    blamed = {value.json for value in first.values}
    return first.field == _FIELD and blamed <= set(map(str, unlucky)) and found.parts[0].name == _PART


def _is_silent(found: Explanation, _: Sequence[int]) -> bool:
    return not found.causes


def _cause(found: Explanation, unlucky: Sequence[int]) -> str:
    if not found.causes:
        return "none"
    first = found.causes[0]
    if first.field != _FIELD:
        return f"`{first.field}`"
    blamed = {value.json for value in first.values}
    theirs = len(blamed & set(map(str, unlucky)))
    others = f" and {len(blamed) - theirs} others" if len(blamed) > theirs else ""
    return f"`{_FIELD}`: {theirs} of the {len(unlucky)}{others}"


def _page(verdicts: Sequence[Verdict]) -> str:
    kinds = list(dict.fromkeys(each.kind for each in verdicts))
    summary = [
        [f"`{kind}`", str(sum(each.right for each in verdicts if each.kind == kind)), str(len(of_kind))]
        for kind in kinds
        if (of_kind := [each for each in verdicts if each.kind == kind])
    ]
    rows = [
        [f"`{each.kind}`", str(each.seed), each.spike, each.cause, f"`{each.part}`", "yes" if each.right else "**no**"]
        for each in verdicts
    ]
    return _PAGE.format(
        duration=_DURATION, users=_USERS, quiet=_QUIET, noise=_NOISE, field=_FIELD, part=_PART,
        summary=table(["runs", "right", "of"], summary),
        rows=table(["run", "seed", "spike", "first cause", "largest part", "right"], rows),
    )  # fmt: skip


if __name__ == "__main__":
    main()
