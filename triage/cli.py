"""`triage`: what a person asks after a spike."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from typer._click.exceptions import ClickException

from triage import arguments, sentences
from triage.arguments import AsJson, Paths, Runs, Service
from triage.errors import CANNOT, CLOSED, INTERRUPTED, MISMATCH, CannotTellError, say
from triage.harmless import harmless_json
from triage.model import Window
from triage.stores import StoreError
from triage.tour.command import tour
from triage.verdict_command import verdict

if TYPE_CHECKING:
    from triage.screen import Screen
    from triage.stores import LoadStore, LogStore, MetricStore

# What a command needs is imported when it runs: help, completion and complaints are quick, and so is `trace`.

_HOUR, _MONTH = 3_600.0, 28 * 86_400.0

cli = typer.Typer(
    name="triage",
    help="What a person asks after a latency spike: about lines and metrics, wherever they are.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

cli.command(epilog="Example: triage tour --once")(tour)
cli.command(epilog="Example: triage verdict --no-stack")(verdict)


@cli.command(epilog="Example: triage trace 0198f2a3c1d27c3e8d4f5a6b7c8d9e0f --jsonl run/")
def trace(
    any_id: Annotated[str, typer.Argument(metavar="ID", help="A trace id, or a request id.")],
    jsonl: Paths = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Show the lines of one request, and where its time went."""
    sentences.check(any_id)
    store = _stores(jsonl, _MONTH).logs
    from triage import render_trace
    from triage.trace import trace as ask

    story = ask(store, any_id)
    if not story.traced.lines:
        raise CannotTellError(sentences.unknown(store, any_id))
    if as_json:
        _print(render_trace.as_json(story))
    else:
        render_trace.show(story, _screen())


@cli.command(epilog="Example: triage explain --jsonl run/ --from 2026-11-23T03:14:00Z --to 2026-11-23T03:15:00Z")
def explain(  # noqa: PLR0913, PLR0917 - options of the command line
    jsonl: Paths = None,
    start: Annotated[str | None, typer.Option("--from", metavar="T", help="The window's start, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="T", help="The window's end.")] = None,
    service: Service = "api",
    slow_ms: Annotated[float, typer.Option(min=0, help="Slow is what takes longer, in milliseconds.")] = 500,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Tell what the slow requests of a spike have in common."""
    window = sentences.window(start, end)
    stores = _stores(jsonl, _HOUR, window)
    from triage import render_explain
    from triage.explain import explain as ask

    explanation = ask(stores.logs, stores.metrics, service, window, slow_ms)
    if not explanation.slow + explanation.fast:
        sentences.need(stores.logs, service)
    if as_json:
        _print(render_explain.as_json(explanation))
    else:
        render_explain.show(explanation, _screen())


@cli.command(epilog="Example: triage reconcile --jsonl run/ --service api")
def reconcile(
    jsonl: Paths = None,
    run: Annotated[str | None, typer.Option(help="The run, if it is not the last one.")] = None,
    runs: Runs = Path("runs"),
    service: Service = "api",
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Compare what was sent, logged and counted; 1 if it differs."""
    stores, load = _with_load(jsonl, runs, run)
    from triage import render_reconcile
    from triage.reconcile import reconcile as ask

    found = ask(stores.logs, stores.metrics, load, service, run)
    if found.sent is None and found.counted is None:
        sentences.need(stores.logs, service)
    if as_json:
        _print(render_reconcile.as_json(found))
    else:
        render_reconcile.show(found, _screen())
    if not found.equal:
        raise typer.Exit(MISMATCH)
    if not found.complete:
        raise CannotTellError(found.missing)


class _Stores(NamedTuple):
    logs: "LogStore"
    metrics: "MetricStore"


def _stores(paths: Sequence[Path] | None, back: float, window: Window | None = None) -> _Stores:
    """Return files, or the stores of the running stack: what they have of a window, else of the last seconds."""
    if paths:
        from triage.stores.jsonl import JsonlStore

        files = JsonlStore(paths)
        return _Stores(files, files)
    return _of_stack(window or Window(time.time() - back, time.time()))


def _of_stack(window: Window) -> _Stores:
    from triage.stack import PATIENCE, stack
    from triage.tour.places import places

    return _Stores(*stack(places(os.environ, PATIENCE), window))


def _with_load(paths: Sequence[Path] | None, runs: Path, run: str | None) -> "tuple[_Stores, LoadStore]":
    """Return files that have everything, or the stack and the folder of a run."""
    from triage.stores.jsonl import JsonlStore

    if paths:
        files = JsonlStore(paths)
        return _Stores(files, files), files
    from triage.run_folders import folder_of
    from triage.stack import around

    folder = folder_of(runs, run)
    load = JsonlStore([folder])
    sent = load.sent(folder.name)
    if not sent:
        msg = f"The run {folder.name} sent nothing: there is nothing to compare"
        raise CannotTellError(msg)
    return _of_stack(around(Window(sent[0].at, max(each.at + each.client_ms / 1000 for each in sent)))), load


def _screen() -> "Screen":
    from triage.screen import Screen

    return Screen(sys.stdout)


def _print(found: Mapping[str, object]) -> None:
    sys.stdout.write(f"{harmless_json(found)}\n")


def main() -> None:
    """Run a command; whatever goes wrong is one sentence on stderr."""
    sys.exit(_run(sys.argv[1:]))


def _run(words: Sequence[str]) -> int:
    try:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        code = cli(arguments.spread(words), prog_name="triage", standalone_mode=False)
        sys.stdout.flush()
    except ClickException as exc:
        context = getattr(exc, "ctx", None)
        say(f"{exc.format_message().rstrip('.')}; see {context.command_path if context else 'triage'} --help")
    except (CannotTellError, StoreError) as exc:
        say(str(exc))
    except BrokenPipeError:
        # Whoever read has enough; the interpreter flushes once more at its end, and is not to complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    else:
        return code or 0
    return CANNOT
