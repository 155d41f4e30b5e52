"""`python -m bench.overhead`: compare the CPU cost of the instrumentation per request with other packages."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench import checks, in_process, over_http, report
from bench.report import Skipped
from bench.variants import BARE, VARIANTS, Variant

RESULTS = Path(__file__).with_name("RESULTS.md")


class Effort(NamedTuple):
    """The length of the measurement: rounds and requests in process; rounds, seconds and warm-up seconds over HTTP."""

    rounds: int
    requests: int
    http_rounds: int
    http_seconds: int
    http_warm_up: int


FULL = Effort(60, 500, 7, 3, 1)
QUICK = Effort(2, 20, 1, 1, 0)  # for tests; the figures are meaningless

_PAGE = """\
# The CPU cost of the instrumentation per request

Written by `make bench`. The figures are CPU time, not wall-clock time. They are the minimum of many rounds, because
other processes on the machine can only add to them.

{machine}

More benchmarks: [whether `triage explain` names the cause](EVAL.md), [whether the tour explains incidents](WHY.md),
[how long `triage` takes](TRIAGE.md), [start-up time and memory of the stack](STACK.md), [open and closed loop, and the
cost of the load generator](LOAD.md), [what normal requests pay for hostile clients](HOSTILE.md), and [how long the
dashboards take with 24 hours of data](DASHBOARDS.md).

The request: `GET /users/17` on FastAPI with an included router, with `traceparent` and `X-Request-ID`.

{variants}

## In process

One process with one event loop (uvloop) and no server: the application is called with scope, receive and send. {rounds}
rounds of {requests} requests for each variant, in a new order each round, measured with `time.process_time`. Lines are
formatted and written to `/dev/null`. The garbage collector runs before each block and as usual within it; objects that
existed before the first block are frozen.

{in_process}

{ratio}

## Over HTTP

{over_http}

## Features

Checked in the same run, with requests to each variant behind uvicorn.

{checks}

Rows 4 and 5 check the lines over HTTP. There, `instrumentator`, `exporter` and `otel` use uvicorn's access log as JSON.
In process, where there is no uvicorn, a small middleware logs method, path, status and duration for them.

## The cost of each part of `ours`

Measured in process, in the same rounds as above. Each row adds one part to the previous row.

{parts}

## Skipped: {count}

{skipped}
"""

_HTTP = """\
Each variant runs in a separate uvicorn process (httptools, uvloop) and writes its lines to `/dev/null`. `wrk` uses one
thread and {connections} connections, for {rounds} rounds of {seconds} s per variant, in a new order each round. The
figures are the user and system CPU time of the server's process, divided by the number of requests that `wrk` counted.

{table}

{ratio}"""


def main() -> None:
    """Run the benchmark and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run for tests; the figures are meaningless")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the page to write (default: %(default)s)")
    options = parser.parse_args()
    options.output.write_text(_page(QUICK if options.quick else FULL))


def _page(effort: Effort) -> str:
    installed, skipped = _installed()
    passed = {name: checks.check(variant) for name, variant in installed.items() if variant is not BARE}
    over = "Skipped, see below."
    if over_http.has_generator():
        rounds = over_http.measure(installed, effort.http_rounds, effort.http_seconds, effort.http_warm_up)
        over = _HTTP.format(
            connections=over_http.CONNECTIONS,
            rounds=effort.http_rounds,
            seconds=effort.http_seconds,
            table=report.costs(installed.values(), rounds, passed),
            ratio=report.ratio(rounds),
        )
    else:
        skipped.append(Skipped("over HTTP", f"no `{over_http.GENERATOR}` on the PATH"))
    measured = in_process.measure(installed, effort.rounds, effort.requests)
    parts = [name for name in measured.rounds if name not in installed]
    return _PAGE.format(
        machine=report.machine(),
        variants=report.table(["variant", "description"], ([f"`{each.name}`", each.description] for each in VARIANTS)),
        rounds=effort.rounds,
        requests=effort.requests,
        in_process=report.costs(installed.values(), measured.rounds, passed),
        ratio=report.ratio({name: measured.rounds[name] for name in installed}),
        over_http=over,
        checks=report.checked(passed),
        parts=report.parts(measured.rounds, parts, measured.idle),
        count=len(skipped),
        skipped="\n".join(f"- {what}: {reason}" for what, reason in skipped) or "None.",
    )


def _installed() -> tuple[Mapping[str, Variant], list[Skipped]]:
    """Return the variants whose packages are installed, and the reason why others are skipped."""
    installed, skipped = {}, []
    for variant in VARIANTS:
        try:
            variant.build()
        except ImportError as exc:
            skipped.append(Skipped(f"`{variant.name}`", f"{exc}; `make bench` installs it"))
        else:
            installed[variant.name] = variant
    return installed, skipped


if __name__ == "__main__":
    main()
