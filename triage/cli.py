"""`triage`: what a person asks after a spike."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer._click.exceptions import ClickException

from triage import arguments, sentences
from triage.arguments import AsJson, Paths, Service
from triage.errors import CANNOT, CLOSED, INTERRUPTED, MISMATCH, CannotTellError, say
from triage.harmless import harmless_json
from triage.stores import StoreError
from triage.tour.command import tour
from triage.verdict_command import verdict

if TYPE_CHECKING:
    from triage.screen import Screen
    from triage.stores.jsonl import JsonlStore

# What a command needs is imported when it runs: help, completion and complaints are quick, and so is `trace`.

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
    store = _store(jsonl)
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
    store = _store(jsonl)
    from triage import render_explain
    from triage.explain import explain as ask

    explanation = ask(store, store, service, window, slow_ms)
    if not explanation.slow + explanation.fast:
        sentences.need(store, service)
    if as_json:
        _print(render_explain.as_json(explanation))
    else:
        render_explain.show(explanation, _screen())


@cli.command(epilog="Example: triage reconcile --jsonl run/ --service api")
def reconcile(
    jsonl: Paths = None,
    run: Annotated[str | None, typer.Option(help="The run, if it is not the last one.")] = None,
    service: Service = "api",
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Compare what was sent, logged and counted; 1 if it differs."""
    store = _store(jsonl)
    from triage import render_reconcile
    from triage.reconcile import reconcile as ask

    found = ask(store, store, store, service, run)
    if found.sent is None and found.counted is None:
        sentences.need(store, service)
    if as_json:
        _print(render_reconcile.as_json(found))
    else:
        render_reconcile.show(found, _screen())
    if not found.equal:
        raise typer.Exit(MISMATCH)
    if not found.complete:
        raise CannotTellError(found.missing)


def _store(paths: Sequence[Path] | None) -> "JsonlStore":
    if not paths:
        msg = "The stores of a running stack come later: name files or folders of lines with --jsonl"
        raise CannotTellError(msg)
    from triage.stores.jsonl import JsonlStore

    return JsonlStore(paths)


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
