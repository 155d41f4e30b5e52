"""The command line of the demo."""

import io
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
from rich.console import Console

from demo import checks, report
from demo.errors import DemoError
from demo.run import Plan, run
from triage.errors import StoreError

_CLOSED_PIPE = 141  # as a shell reports SIGPIPE

cli = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@cli.command()
def demo(  # noqa: PLR0913 - command-line options
    *,
    duration: Annotated[int, typer.Option(min=10, max=600, metavar="SECONDS", help="Duration of the load.")] = 45,
    users: Annotated[int, typer.Option(min=10, max=400, help="Locust users, with one request per second each.")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the load and of the affected users.")] = 1,
    fault: Annotated[
        Literal["slow-query", "database-timeout", "none"], typer.Option(help="Fault to inject for 8 of 200 users.")
    ] = "slow-query",
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the files of the run to DIR.")] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run nothing; report on an earlier run in DIR.")
    ] = None,
) -> None:
    """Run two services and a load test, inject a fault, and trace the latency spike to its log lines."""
    if keep is not None and check is not None:
        msg = "it cannot be combined with --check"
        raise typer.BadParameter(msg, param_hint="--keep")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _exit)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the plot, where stdout cannot encode it
    console = report.ReportConsole()
    try:
        if check is not None:
            _report(console, check)
        else:
            with _folder(keep) as folder:
                _run(console, Plan(duration, users, seed, fault, folder))
        console.file.flush()
    except DemoError as exc:
        sys.stderr.write(f"{exc}.\n")
        raise typer.Exit(1) from exc
    except BrokenPipeError as exc:
        # The interpreter flushes stdout once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_CLOSED_PIPE) from exc


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors in options are one sentence."""
    try:
        code = cli(arguments, prog_name="python -m demo", standalone_mode=False)
    except typer.TyperException as exc:
        sys.stderr.write(f"{exc.format_message().rstrip('.')}. See python -m demo --help.\n")
        return 2
    return int(code or 0)


def _exit(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _run(console: Console, plan: Plan) -> None:
    try:
        with report.progress_bar(console) as progress:
            run(plan, progress)
        _report(console, plan.folder)
    except DemoError as exc:
        msg = f"{exc}. The files are in {plan.folder}"
        raise DemoError(msg) from exc


def _report(console: Console, folder: Path) -> None:
    try:
        analysis = report.analyze(folder)
        report.show(console, analysis)
        passed = checks.show(console, checks.check(analysis))
    except StoreError as exc:
        raise DemoError(str(exc).rstrip(".")) from exc
    if not passed:
        msg = "Not all checks passed"
        raise DemoError(msg)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield the folder of a run; a temporary one is removed, except after an error."""
    if keep is not None:
        yield _empty(keep)
        return
    folder = Path(tempfile.mkdtemp(prefix="spike-to-log-"))
    try:
        yield folder
    except DemoError:
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            msg = f"{folder} is not empty; name a new or an empty folder"
            raise typer.BadParameter(msg, param_hint="--keep")
        (folder / ".gitignore").write_text("*\n")
    except OSError as exc:
        msg = f"{folder} cannot be written: {exc.strerror}"
        raise typer.BadParameter(msg, param_hint="--keep") from exc
    return folder
