"""`python -m loadtest.run`: make a measured run, and leave a folder with its files for the verdict."""

import http.client
import json
import signal
import sys
import time
import urllib.error
from collections.abc import Mapping
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Timer
from typing import Annotated, Any, Literal, NoReturn

import typer
from pydantic import ValidationError

from loadtest.generators import Generators, StartError
from loadtest.http_client import open_url
from loadtest.incidents import start_incident
from loadtest.options import RunOptions, UsersFileError, read_weights
from loadtest.profiles import PROFILES
from loadtest.record import encode, line
from loadtest.stack import pause_stack_load
from triage.stores.client import certificate_error

_INTERRUPTED = 130  # what a shell expects after Ctrl-C
_TIMEOUT = 5  # seconds

cli = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@cli.command(help="Make a measured run of load.", epilog=f"Profiles: {', '.join(PROFILES)}.")
def run(  # noqa: PLR0913, PLR0917 - options of the command line
    profile: Annotated[
        Literal["steady", "steps", "spike", "incident", "soak"], typer.Option(help="How the rate changes over the run.")
    ] = "steady",
    loop: Annotated[
        Literal["open", "closed"],
        typer.Option(help="open: requests are sent when they are due; closed: each user waits for the response."),
    ] = "open",
    rate: Annotated[float, typer.Option(help="Requests per second, which the profile multiplies.")] = 20,
    seconds: Annotated[float | None, typer.Option(help="Length of the run; by default that of the profile.")] = None,
    host: Annotated[str, typer.Option(help="Base URL of the service; only load your own.")] = "http://127.0.0.1:8000",
    workers: Annotated[int, typer.Option(help="Processes that send requests; each needs a core.")] = 1,
    users: Annotated[
        Path | None, typer.Option(help="TOML file with a weight per user class; by default those of the locustfile.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the folder of the run is made.")] = Path("runs"),
    name: Annotated[str | None, typer.Option("--run", help="Name of the run; by default its time.")] = None,
) -> None:
    """Make a run, and print where its folder is."""
    given: dict[str, Any] = {
        "profile": profile, "loop": loop, "rate": rate, "seconds": seconds, "host": host, "workers": workers,
        "folder": folder,
    }  # fmt: skip
    if name is not None:
        given["run"] = name
    try:
        if users is not None:
            given["users"] = read_weights(users)
        options = RunOptions.model_validate(given)
    except UsersFileError as exc:
        _fail("users", str(exc))
    except ValidationError as exc:
        error = exc.errors()[0]
        _fail(str(error["loc"][0]), error["msg"])
    try:
        clock_offset = _measure_clock_offset(options.target)
    except (OSError, http.client.HTTPException) as exc:
        if reason := certificate_error(exc):
            _fail("host", f"{options.url} has a certificate that is not valid here: {reason}")
        _fail("host", f"{options.url} does not answer, start the service first")
    try:
        options.run_folder.mkdir(parents=True)
    except FileExistsError:
        _fail("run", f"{options.run_folder} exists, choose another name")
    except OSError as exc:
        _fail("folder", f"cannot write to {folder}: {exc.strerror}")
    raise typer.Exit(_make(options, clock_offset))


def _fail(option: str, message: str) -> NoReturn:
    typer.echo(f"--{option}: {message}.", err=True)
    raise typer.Exit(2)


def _make(options: RunOptions, clock_offset: float | None) -> int:
    # A signal must not end this process before the stack's own load has started again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    processes = "one generator" if options.workers == 1 else f"{options.workers} generators"
    rate = f"{options.rate:g} a second for {options.plan.seconds:g} s"
    typer.echo(f"Run {options.run}: {options.profile}, {options.loop} loop, {rate} from {processes} to {options.url}")
    try:
        with pause_stack_load(options.url) as paused:
            if paused:
                typer.echo("The load of the stack is paused during the run.")
            return _send(options, clock_offset)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _send(options: RunOptions, clock_offset: float | None) -> int:
    with Generators(options) as generators:
        try:
            begin = generators.begin()
        except StartError as exc:
            typer.echo("\n".join([*generators.warnings(), f"{exc}."]), err=True)
            return 1

        def stop(*_: object) -> None:
            generators.stop()

        handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        _write(options, _started(options, begin, generators.weights, clock_offset))
        timer = _incident_timer(options)
        lost = generators.wait()
        timer.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for warning in generators.warnings():
        typer.echo(warning, err=True)
    if lost:
        typer.echo(f"{lost} of {options.workers} workers were lost.", err=True)
    if lost == options.workers:
        typer.echo(f"The run did not finish. Its files are in {options.run_folder}.", err=True)
        return 1
    requests, failures = _counts(options.run_folder)
    counts = {"requests": requests, "failures": failures, "interrupted": generators.interrupted}
    _write(options, line("run.stopped", options.run, **counts))
    typer.echo(f"{requests} requests, {failures} failed. The run's folder is {options.run_folder}.")
    return _INTERRUPTED if generators.interrupted else 0


def _started(
    options: RunOptions, begin: float, weights: Mapping[str, int], clock_offset: float | None
) -> dict[str, object]:
    plan = options.plan
    return line(
        "run.started",
        options.run,
        begin,
        host=options.url,
        profile=options.profile,
        loop=options.loop,
        seconds=plan.seconds,
        rate=round(plan.arrivals / plan.seconds, 3),
        workers=options.workers,
        users=weights,
        clock_offset_s=clock_offset,
    )


def _incident_timer(options: RunOptions) -> Timer:
    """Return a timer for the profile's incident, which is started if there is one."""
    plan = options.plan
    first, last = (share * plan.seconds for share in plan.profile.fault or (0.0, 0.0))
    seconds = min(max(round(last - first), 1), 600)
    timer = Timer(first, start_incident, (options.target, options.run, seconds))
    if plan.profile.fault is not None:
        timer.start()
    return timer


def _counts(folder: Path) -> tuple[int, int]:
    """Return how many requests the generators recorded, and how many of them failed."""
    requests = failures = 0
    for file in folder.glob("sent-*.jsonl"):
        with file.open(encoding="utf-8") as lines:
            for text in lines:
                fields = _parse(text)
                requests += fields.get("event") == "request.sent"
                failures += fields.get("error") is not None
    return requests, failures


def _parse(text: str) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = json.loads(text)
    except ValueError:
        return {}  # the last line of a generator that was killed
    return fields


def _write(options: RunOptions, fields: dict[str, object]) -> None:
    try:
        with (options.run_folder / "run.jsonl").open("ab") as file:
            file.write(encode(fields))
    except OSError as exc:
        typer.echo(f"Cannot record the run in {options.run_folder}: {exc.strerror}.", err=True)


def _measure_clock_offset(url: str) -> float | None:
    """Return how many seconds this machine's clock is ahead of the service's, at least; None without a `Date` header.

    The header has whole seconds and may be a second old, so that a difference of less than two seconds may count as
    none. Raise `OSError` or `HTTPException` if the service does not respond.
    """
    before = time.time()
    try:
        with open_url(url, timeout=_TIMEOUT) as response:
            headers: Message = response.headers
    except urllib.error.HTTPError as exc:
        headers = exc.headers
        exc.close()
    after = time.time()
    try:
        date = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except ValueError:
        return None
    return round(max(before - date - 2, 0.0) + min(after - date, 0.0), 3)


if __name__ == "__main__":
    sys.exit(cli())
