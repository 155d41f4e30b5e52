"""`python -m loadtest.run`: a run of load that is measured, and leaves a folder to judge it by."""

import argparse
import http.client
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from loadtest.generators import Generators
from loadtest.mix import UsersFileError, read_weights
from loadtest.options import RunOptions
from loadtest.profiles import PROFILES
from loadtest.stack import resting

_INTERRUPTED = 130  # what a shell expects after Ctrl-C
_SOON = 5  # seconds


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence, without the usage."""
        _refuse(f"{message[:1].upper()}{message[1:]}. See python -m loadtest.run --help.")


def parser() -> argparse.ArgumentParser:
    """Return what can be typed; what it means is checked by `RunOptions`."""
    made = _Parser(prog="python -m loadtest.run", description="A run of load that is measured.", allow_abbrev=False)
    fields, add = RunOptions.model_fields, made.add_argument
    for name, text in {
        "profile": f"how the load goes over the run: {', '.join(PROFILES)}",
        "loop": "open: requests leave when they are due; closed: each user waits for the answer",
        "rate": "requests a second, which the profile multiplies",
        "seconds": "how long; by default as long as the profile usually is",
        "host": "what is loaded; only what is yours",
        "workers": "processes that generate; one needs a core",
        "users": "a file of weights",
        "folder": "where the folders of runs are",
        "run": "the name of this one; by default its time",
    }.items():
        default = fields[name].get_default()
        add(f"--{name}", default=default, metavar=name.upper(), help=text)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a run, and say where its folder is."""
    options = _options(arguments)
    # Whatever ends this process, the stack's load is to start again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(_sentence(options), flush=True)  # noqa: T201 - for people
        with resting(options.url) as paused:
            if paused:
                print("The load of the stack rests meanwhile.", flush=True)  # noqa: T201 - for people
            return _make(options)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _make(options: RunOptions) -> int:
    with Generators(options) as generators:
        signals = iter((generators.interrupt, generators.kill))

        def stop(*_: object) -> None:
            next(signals, generators.kill)()

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        lost = generators.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    for complaint in generators.complaints():
        sys.stderr.write(f"{complaint}\n")
    if lost:
        sys.stderr.write(f"{lost} of {options.workers} workers were lost.\n")
    stopped = _stopped(options.own_folder)
    if stopped is None:
        sys.stderr.write(f"The run did not come to its end; what there is of it is in {options.own_folder}.\n")
        return 1
    counts = f"{stopped['requests']} requests, {stopped['failures']} failed"
    print(f"{counts}. The run's folder is {options.own_folder}.", flush=True)  # noqa: T201 - for people
    return _INTERRUPTED if stopped["interrupted"] else 0


def _options(arguments: Sequence[str] | None) -> RunOptions:
    typed = {name: value for name, value in vars(parser().parse_args(arguments)).items() if value is not None}
    try:
        options = RunOptions.model_validate(typed)
        read_weights(options.users)
    except ValidationError as exc:
        wrong = exc.errors()[0]
        _refuse(f"--{wrong['loc'][0]}: {wrong['msg']}.")
    except UsersFileError as exc:
        _refuse(f"{exc}.")
    if not _answers(options.url):
        _refuse(f"{options.url} does not answer.")
    try:
        options.own_folder.mkdir(parents=True)
    except FileExistsError:
        _refuse(f"{options.own_folder} is there already; each run has a folder of its own.")
    except OSError as exc:
        _refuse(f"Nothing can be written to {options.own_folder}: {exc.strerror}.")
    return options


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_SOON):  # noqa: S310 - a URL of HTTP, as pydantic has checked
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):
        return False


def _sentence(options: RunOptions) -> str:
    generators = "one generator" if options.workers == 1 else f"{options.workers} generators"
    pace = f"{options.rate:g} a second for {options.plan.seconds:g} s"
    return f"Run {options.run}: {options.profile}, {options.loop} loop, {pace} from {generators} to {options.url}"


def _stopped(folder: Path) -> dict[str, Any] | None:
    try:
        lines = [json.loads(text) for text in (folder / "run.jsonl").read_text().splitlines()]
    except (OSError, ValueError):
        return None
    return next((said for said in lines if said["event"] == "run.stopped"), None)


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(2)


if __name__ == "__main__":
    sys.exit(main())
