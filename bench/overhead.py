"""`python -m bench.overhead`: what the instrumentation of a request costs in CPU, beside what others cost."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench import checks, in_process, over_http, report
from bench.report import Skipped
from bench.variants import BARE, VARIANTS, Variant

RESULTS = Path(__file__).with_name("RESULTS.md")


class Effort(NamedTuple):
    """How long to measure: rounds and requests in process, rounds and seconds over HTTP."""

    rounds: int
    requests: int
    http_rounds: int
    http_seconds: int


FULL = Effort(60, 500, 7, 3)
QUICK = Effort(2, 20, 1, 1)  # it shows that everything runs, and no figure means anything

_PAGE = """\
# What the instrumentation of a request costs

Written by `make bench`. CPU time, not wall clock; the least of many rounds, since what else runs on a machine only
adds to it.

{machine}

Beside this page: [whether `triage explain` names the cause](EVAL.md), [how long triage takes](TRIAGE.md), [what the
whole stack takes](STACK.md), and [what two loops say of a stall, and one core generates](LOAD.md).

The request: `GET /users/17` on FastAPI with an included router, with `traceparent` and `X-Request-ID`.

{variants}

## In process

One process and one event loop (uvloop's), no server: the application is called with scope, receive and send. {rounds}
rounds of {requests} requests for each variant, in a new order each round; `time.process_time`. Lines are formatted and
written to a file descriptor on `/dev/null`. Garbage is collected before each block, and within it as ever; what existed
before the first block is frozen.

{in_process}

{ratio}

## Over HTTP

{over_http}

## Beside being cheap

Found out in the same run, by asking each variant behind uvicorn.

{checks}

Rows 4 and 5 look at lines over HTTP. `instrumentator`, `exporter` and `otel` have uvicorn's access line there, as JSON;
in process, where there is no uvicorn, they have a layer that writes method, path, status and duration.

## What each part of ours costs

In the same rounds as above, in process; each row adds one part to those above it.

{parts}

## Skipped: {count}

{skipped}
"""

_HTTP = """\
Each variant in a uvicorn of its own (httptools, uvloop), lines to `/dev/null`; `wrk` with one thread and {connections}
connections, {rounds} rounds of {seconds} s for each variant, in a new order each round. The CPU time of the server's
process, user and system, divided by the requests that `wrk` counted.

{table}

{ratio}"""


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="show that everything runs; the figures mean nothing")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the page to write (default: %(default)s)")
    options = parser.parse_args()
    options.output.write_text(_page(QUICK if options.quick else FULL))


def _page(effort: Effort) -> str:
    there, skipped = _there()
    found = {name: checks.check(variant) for name, variant in there.items() if variant is not BARE}
    over = "Skipped, see below."
    if over_http.there():
        rounds = over_http.measure(there, effort.http_rounds, effort.http_seconds)
        over = _HTTP.format(
            connections=over_http.CONNECTIONS,
            rounds=effort.http_rounds,
            seconds=effort.http_seconds,
            table=report.costs(there.values(), rounds, found),
            ratio=report.ratio(rounds),
        )
    else:
        skipped.append(Skipped("over HTTP", f"no `{over_http.GENERATOR}` on the PATH"))
    measured = in_process.measure(there, effort.rounds, effort.requests)
    parts = [name for name in measured.rounds if name not in there]
    return _PAGE.format(
        machine=report.machine(),
        variants=report.table(["variant", "made of"], ([f"`{each.name}`", each.made_of] for each in VARIANTS)),
        rounds=effort.rounds,
        requests=effort.requests,
        in_process=report.costs(there.values(), measured.rounds, found),
        ratio=report.ratio({name: measured.rounds[name] for name in there}),
        over_http=over,
        checks=report.checked(found),
        parts=report.parts(measured.rounds, parts, measured.resting),
        count=len(skipped),
        skipped="\n".join(f"- {what}: {reason}" for what, reason in skipped) or "Nothing.",
    )


def _there() -> tuple[Mapping[str, Variant], list[Skipped]]:
    """Return the variants whose packages are installed, and why the others are not measured."""
    there, skipped = {}, []
    for variant in VARIANTS:
        try:
            variant.build()
        except ImportError as exc:
            skipped.append(Skipped(f"`{variant.name}`", f"{exc}; `make bench` installs it"))
        else:
            there[variant.name] = variant
    return there, skipped


if __name__ == "__main__":
    main()
