"""Tests wait for a thing to happen; they do not assert how fast it did."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T | None], what: str, seconds: float = 30, pause: float = 0.1) -> T:
    """Return what `look` finds, as soon as it finds something true; `AssertionError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            msg = f"still waiting for {what} after {seconds:g} s; the last look gave {found!r}"
            raise AssertionError(msg)
        time.sleep(pause)
