"""`python -m demo`: the walk on this machine, told as a story; exit code 0 only if all of it holds."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from demo import checks, story
from demo.children import DemoError
from demo.plan import FAULTS, NONE, Plan
from demo.progress import Progress
from demo.walk import walk
from triage.console import Console as SafeConsole
from triage.errors import StoreError

_INTERRUPTED = 130  # what a shell expects after Ctrl-C
_CLOSED = 141  # ... after its reader went away
_WIDTH = 100


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence, without the usage."""
        sys.stderr.write(f"{message[:1].upper()}{message[1:]}. See python -m demo --help.\n")
        sys.exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, or tell of an earlier run."""
    options = parser().parse_args(arguments)
    console = Console()
    console = Console(width=min(console.width, _WIDTH) if console.is_terminal else _WIDTH)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        if options.check is not None:
            _tell(options.check)
            return 0
        with _folder(options.keep) as folder:
            _run(console, Plan(options.duration, options.users, options.seed, options.fault, folder))
    except DemoError as exc:
        sys.stderr.write(f"{exc}.\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough; the interpreter flushes once more at its end, and is not to complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED
    return 0


def _run(console: Console, plan: Plan) -> None:
    try:
        with Progress(console) as progress:
            walk(plan, progress)
        _tell(plan.folder)
    except DemoError as exc:
        msg = f"{exc}. The files are in {plan.folder}"
        raise DemoError(msg) from exc


def _tell(folder: Path) -> None:
    screen = SafeConsole(sys.stdout)
    try:
        story.tell(screen, folder)
        holds = checks.tell(screen, folder)
    except StoreError as exc:
        raise DemoError(str(exc).rstrip(".")) from exc
    if not holds:
        msg = "Not all of it holds"
        raise DemoError(msg)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Make the folder of a run; one that nobody asked for stays only when something is wrong."""
    if keep is not None:
        yield _empty(keep)
        return
    folder = Path(tempfile.mkdtemp(prefix="spike-to-log-"))
    try:
        yield folder
    except Exception:
        raise
    except BaseException:  # a signal: nobody wants to know
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            _refuse(f"{folder} is not empty; --keep wants a folder of its own for each run.")
    except OSError as exc:
        _refuse(f"Nothing can be kept in {folder}: {exc.strerror}.")
    return folder


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(2)


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            msg = f"{text!r} is not a number from {least} to {most}"
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return number


def parser() -> argparse.ArgumentParser:
    """Return what can be typed."""
    made = _Parser(prog="python -m demo", description="The walk on this machine, told as a story.")
    add = made.add_argument
    add("--duration", type=_between(10, 600), default=45, metavar="SECONDS", help="of the load (default: %(default)s)")
    add("--users", type=_between(10, 400), default=100, help="one request a second each (default: %(default)s)")
    add("--seed", type=_between(0, 2**31 - 1), default=1, help="who suffers, and who asks what (default: %(default)s)")
    add("--fault", choices=[*FAULTS, NONE], default="slow-query", help="what goes wrong (default: %(default)s)")
    where = made.add_mutually_exclusive_group()
    where.add_argument("--keep", type=Path, metavar="DIR", help="write the files there, and leave them")
    where.add_argument("--check", type=Path, metavar="DIR", help="run nothing; check and tell what is there")
    return made


if __name__ == "__main__":
    sys.exit(main())
