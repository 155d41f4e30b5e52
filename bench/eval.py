"""`python -m bench.eval`: test whether `triage explain` names the cause of a spike, and none if there is none."""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from bench.report import table
from demo.errors import DemoError
from demo.report import progress_bar
from demo.run import FAULTS, NO_FAULT, Plan, run
from triage.explain import Explanation, explain
from triage.stores.jsonl import JsonlStore

RESULTS = Path(__file__).with_name("EVAL.md")
_QUIET, _NOISE = "quiet", "noise"
_RUNS = {**dict.fromkeys(FAULTS, 10), _QUIET: 10, _NOISE: 5}
_DURATION, _USERS = 20, 100
_NOISE_FAULT, _NOISE_SHARE = "slow-query", 0.03
_FIELD, _PART = "user_id", "db_ms"

_PAGE = """\
# Whether `triage explain` names the cause

Written by `make eval`. Each run is the demo, {duration} s long with {users} users: real services, real load, and in
the middle a fault for 8 of 200 users. There is no fault in `{quiet}` runs. In `{noise}` runs, `{noise_fault}` affects
{noise_share:.0%} of all requests at random. `triage explain` then analyses the run without this information.

The result of a run with a fault is right if the first cause is `{field}`, with affected users only, and the largest
part of the latency is `{part}`. The result of the other runs is right if no cause is named.

{summary}

{rows}
"""


class Verdict(NamedTuple):
    """The result of one run, and whether it is right."""

    kind: str
    seed: int
    right: bool
    spike: str
    cause: str
    part: str


def main() -> None:
    """Make all runs and write the page."""
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
        fault = {_QUIET: NO_FAULT, _NOISE: _NOISE_FAULT}.get(kind, kind)
        plan = Plan(_DURATION, _USERS, seed, fault, Path(folder), _NOISE_SHARE if kind == _NOISE else None)
        run(plan, progress_bar(Console(file=StringIO())))
        store = JsonlStore([plan.folder])
        explanation = explain(store, store)
    judge: Callable[[Explanation, Sequence[int]], bool] = _is_right if kind in FAULTS else _has_no_cause
    spike = "none" if explanation.spike is None else f"{explanation.slow} slow, {explanation.fast} fast"
    part = explanation.parts[0].name if explanation.parts else "-"
    return Verdict(
        kind, seed, judge(explanation, plan.affected_users), spike, _cause(explanation, plan.affected_users), part
    )


def _is_right(explanation: Explanation, affected: Sequence[int]) -> bool:
    if not explanation.causes or not explanation.parts:
        return False
    first = explanation.causes[0]
    named = {value.json for value in first.values}
    return first.field == _FIELD and named <= set(map(str, affected)) and explanation.parts[0].name == _PART


def _has_no_cause(explanation: Explanation, _: Sequence[int]) -> bool:
    return not explanation.causes


def _cause(explanation: Explanation, affected: Sequence[int]) -> str:
    if not explanation.causes:
        return "none"
    first = explanation.causes[0]
    if first.field != _FIELD:
        return f"`{first.field}`"
    named = {value.json for value in first.values}
    right = len(named & set(map(str, affected)))
    others = f" and {len(named) - right} others" if len(named) > right else ""
    return f"`{_FIELD}`: {right} of the {len(affected)}{others}"


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
        duration=_DURATION, users=_USERS, quiet=_QUIET, noise=_NOISE, noise_fault=_NOISE_FAULT,
        noise_share=_NOISE_SHARE, field=_FIELD, part=_PART,
        summary=table(["runs", "right", "of"], summary),
        rows=table(["run", "seed", "spike", "first cause", "largest part", "right"], rows),
    )  # fmt: skip


if __name__ == "__main__":
    main()
