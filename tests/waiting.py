"""Wait for a condition, so that tests do not depend on how fast the machine is."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], what: str, seconds: float = 60, pause: float = 0.1) -> T:
    """Call `condition` until its result is true and return it; raise `AssertionError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            msg = f"still waiting for {what} after {seconds:g} s; the last result was {result!r}"
            raise AssertionError(msg)
        time.sleep(pause)
