"""`triage tour`, as it is typed."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

# What it needs is imported when it runs: help and the other commands do not wait for it.


def tour(
    once: Annotated[bool, typer.Option("--once", help="Walk once: 0 if it works, 1 if not.")] = False,  # noqa: FBT002
    healthy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Touch this file whenever nothing is broken.")
    ] = None,
) -> None:
    """Walk from a dot to its lines in a running stack, and say where to look, or which hop is broken."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from triage.screen import Screen
    from triage.tour import guide
    from triage.tour.once import once as walk_once
    from triage.tour.places import places
    from triage.tour.say import Voice

    at = places(os.environ)
    voice = Voice(Screen(sys.stdout), at)
    if once:
        raise typer.Exit(walk_once(at, voice))
    guide.keep_looking(at, voice, healthy)
