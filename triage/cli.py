"""The command line: options, and errors as one sentence with exit code 2."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from triage import explain as explanation
from triage import reconcile as reconciliation
from triage import timestamps
from triage import trace as traces
from triage.console import Console, print_error, print_json, print_text
from triage.endpoints import QUERY_TIMEOUT, read_endpoints
from triage.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_MISMATCH,
    TriageError,
)
from triage.models import Window
from triage.stores import LoadStore, LogStore, MetricStore
from triage.timelimit import TIME_LIMIT, limit_time
from triage.tour import guide
from triage.tour.checkout import unreadable_files
from triage.tour.output import Output

# Modules that need DuckDB are imported by the commands that use them: the image of the stack, which runs `triage tour`,
# does not contain it.

_HOUR, _FOUR_WEEKS = 3_600.0, 28 * 86_400.0
_SCRAPE_MARGIN = 15.0  # seconds around a run, in which there are at least two scrapes

app = typer.Typer(
    name="triage",
    help="Find the cause of a latency spike in logs and metrics.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _parse_time(text: str) -> float:
    try:
        return timestamps.parse(text)
    except (ValueError, OverflowError):
        msg = f"{text!r} is not a time such as 2026-11-23T03:14:00Z"
        raise typer.BadParameter(msg) from None


Jsonl = Annotated[
    list[Path] | None,
    typer.Option(
        "--jsonl",
        metavar="PATH",
        help="Read a file or folder of log lines (*.jsonl, *.jsonl.gz, *.log) instead of the stack; may be repeated.",
    ),
]
Runs = Annotated[Path, typer.Option(metavar="FOLDER", help="The folder with the load runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Service = Annotated[str, typer.Option(help="The service whose requests are examined.")]


@app.callback()
def limit_command(context: typer.Context) -> None:
    """Limit the time of all commands but the tour, which limits each of its checks, because it never ends."""
    if context.invoked_subcommand != "tour":
        context.with_resource(limit_time(TIME_LIMIT))


class _Stores(NamedTuple):
    logs: LogStore
    metrics: MetricStore


@app.command(epilog="Example: triage tour --once")
def tour(
    once: Annotated[bool, typer.Option("--once", help="Check once: exit with 0 if every step works, else 1.")] = False,  # noqa: FBT002
    healthy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Touch this file whenever no step is broken.")
    ] = None,
    checkout: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Report files in this folder that containers cannot read.")
    ] = None,
) -> None:
    """Check every step from a request to its log lines in the running stack, and print links to follow."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    endpoints, console = read_endpoints(), Console(sys.stdout)
    if checkout is not None and (files := unreadable_files(checkout)):
        Output(console, endpoints).unreadable(files)
    if once:
        raise typer.Exit(guide.check_once(endpoints, console))
    guide.watch(endpoints, console, healthy)


@app.command(epilog="Example: triage trace 0198f2a3c1d27c3e8d4f5a6b7c8d9e0f --jsonl run/")
def trace(
    any_id: Annotated[str, typer.Argument(metavar="ID", help="A trace id or a request id.")],
    jsonl: Jsonl = None,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Show the log lines of one request, and where its time went."""
    if any_id in {"", "-"}:
        msg = f"{any_id!r} is not the id of a request"
        raise typer.BadParameter(msg)
    logs = _open_stores(jsonl, _FOUR_WEEKS).logs
    result = traces.trace(logs, any_id)
    if not result.found.lines:
        msg = f"No log lines for the id {any_id!r}: {_searched(logs)}"
        raise TriageError(msg)
    if as_json:
        print_json(traces.as_json(result))
    else:
        traces.show(result, Console(sys.stdout))


@app.command(epilog="Example: triage explain --jsonl run/ --from 2026-11-23T03:14:00Z --to 2026-11-23T03:15:00Z")
def explain(  # noqa: PLR0913, PLR0917 - options of the command line
    jsonl: Jsonl = None,
    start: Annotated[
        float | None, typer.Option("--from", metavar="TIME", parser=_parse_time, help="The start of the window.")
    ] = None,
    end: Annotated[
        float | None, typer.Option("--to", metavar="TIME", parser=_parse_time, help="The end of the window.")
    ] = None,
    service: Service = "api",
    slow_ms: Annotated[float, typer.Option(min=0, help="Requests are slow above this duration.")] = 500,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Find what the slow requests of a spike have in common."""
    if (start is None) != (end is None):
        msg = "give both --from and --to, or neither"
        raise typer.BadParameter(msg)
    window = None if start is None or end is None else Window(start, end)
    if window is not None and window.start > window.end:
        msg = "the window ends before it starts; swap --from and --to"
        raise typer.BadParameter(msg)
    stores = _open_stores(jsonl, _HOUR, window)
    result = explanation.explain(stores.logs, stores.metrics, service, window, slow_ms)
    if not result.slow + result.fast:
        _require_service(stores.logs, service)
    if as_json:
        print_json(explanation.as_json(result))
    else:
        explanation.show(result, Console(sys.stdout))


@app.command(epilog="Example: triage reconcile --jsonl run/ --service api")
def reconcile(
    jsonl: Jsonl = None,
    run: Annotated[str | None, typer.Option(help="A run other than the last one.")] = None,
    runs: Runs = Path("runs"),
    service: Service = "api",
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Compare the requests that were sent, logged and counted; exit with 1 if they differ."""
    stores = _open_run(jsonl, runs, run)
    result = reconciliation.reconcile(stores.logs, stores.metrics, stores.load, service, run)
    if result.sent is None and result.counted is None:
        _require_service(stores.logs, service)
    if as_json:
        print_json(reconciliation.as_json(result))
    else:
        reconciliation.show(result, Console(sys.stdout))
    if not result.equal:
        raise typer.Exit(EXIT_MISMATCH)
    if not result.complete:
        raise TriageError(result.missing)


@app.command(epilog="Example: triage verdict --no-stack")
def verdict(  # noqa: PLR0913, PLR0917 - options of the command line
    run: Annotated[str | None, typer.Argument(help="The name or folder of a run; by default the newest.")] = None,
    runs: Runs = Path("runs"),
    thresholds: Annotated[Path, typer.Option(metavar="FILE", help="The thresholds that the run has to meet.")] = Path(
        "loadtest/thresholds.toml"
    ),
    service: Service = "api",
    no_stack: Annotated[bool, typer.Option("--no-stack", help="Query neither Loki nor Prometheus.")] = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull request.")] = False,  # noqa: FBT002
) -> None:
    """Judge a load run: exit with 0 for PASS, 1 for FAIL, 3 for INVALID, 2 for an error."""
    from loadtest.judge import judge_run
    from loadtest.verdict import EXIT_CODES
    from loadtest.verdict_report import show

    if as_json and as_markdown:
        msg = "give either --json or --markdown"
        raise typer.BadParameter(msg)
    result = judge_run(runs, run, thresholds, service, use_stack=not no_stack)
    if as_json or as_markdown:
        print_text(result.json if as_json else result.markdown)
    else:
        show(result.verdict, result.grafana, Console(sys.stdout))
    raise typer.Exit(EXIT_CODES[result.verdict.word])


def _open_stores(paths: Sequence[Path] | None, look_back: float, window: Window | None = None) -> _Stores:
    """Return the stores of files, or those of the stack for a window, by default the last `look_back` seconds."""
    if paths:
        from triage.stores.jsonl import JsonlStore

        files = JsonlStore(paths)
        return _Stores(files, files)
    now = time.time()
    return _Stores(*read_endpoints(QUERY_TIMEOUT).stores(window or Window(now - look_back, now)))


class _RunStores(NamedTuple):
    logs: LogStore
    metrics: MetricStore
    load: LoadStore


def _open_run(paths: Sequence[Path] | None, runs: Path, run: str | None) -> _RunStores:
    """Return the stores of files, or the folder of a run and the stores of the stack for its time."""
    from triage.stores.jsonl import JsonlStore
    from triage.stores.runs import find_run

    if paths:
        files = JsonlStore(paths)
        return _RunStores(files, files, files)
    folder = find_run(runs, run)
    load = JsonlStore([folder])
    sent = load.sent(folder.name)
    if not sent:
        msg = f"The run {folder.name} sent no requests, so there is nothing to compare"
        raise TriageError(msg)
    window = Window(sent[0].at, max(each.at + each.client_ms / 1000 for each in sent)).expand(_SCRAPE_MARGIN)
    return _RunStores(*read_endpoints(QUERY_TIMEOUT).stores(window), load)


def _require_service(logs: LogStore, service: str) -> None:
    """Raise `TriageError` if there are no lines of a service."""
    services = logs.summary().services
    if service not in services:
        choose = f"choose one of {', '.join(services)} with --service; " if services else ""
        msg = f"No log lines of the service {service!r}: {choose}{_searched(logs)}"
        raise TriageError(msg)


def _searched(logs: LogStore) -> str:
    """Describe what was searched; raise `TriageError` if it contains no log lines at all."""
    summary = logs.summary()
    if summary.span is None:
        msg = f"None of the {summary.lines:,} lines in {summary.where} is a log line: name other files with --jsonl"
        raise TriageError(msg)
    unreadable = f", of which {summary.unreadable:,} were not log lines," if summary.unreadable else ""
    lines = f"{summary.lines:,} line{'s' * (summary.lines != 1)}"
    start, end = map(timestamps.rfc3339, summary.span)
    return f"searched {summary.where} with {lines}{unreadable} from {start} to {end}"


def main() -> None:
    """Run a command and exit with its code."""
    sys.exit(_run())


def _run() -> int:
    try:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        code = app(prog_name="triage", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as exc:
        print_error(f"{exc.format_message().rstrip('.')}; see triage --help")
    except TriageError as exc:
        print_error(str(exc))
    except MemoryError:
        print_error("There is not enough memory; name fewer files or a shorter window")
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    else:
        return code or 0
    return EXIT_ERROR
