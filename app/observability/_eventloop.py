"""The heartbeat of the event loop: a block of it slows down requests that cannot know why."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter
from typing import Any

PERIOD = 0.020  # seconds between two beats
STALL = 0.020  # seconds; a beat that is less late than this is the machine's noise
BEFORE = 0.050  # seconds; a request that comes in so soon after a stall had to wait for it, unseen
_REMEMBERED = 64  # stalls; a request that lives through more of them is told the largest of the last

logger = logging.getLogger("observability")


class Heartbeat:
    """A timer of the running loop that notes how late it is.

    A request's own clock starts when the loop sees it, so a request that arrives during a block looks fast to the
    server; and the one that blocks may be done before any timer runs. So both ask here, at their end.
    """

    def __init__(self, observe: Callable[[float], None]) -> None:
        """Give the lateness of each beat, in seconds, to `observe`."""
        self._observe = observe
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: When the next beat should be; in the past, all the time, if nobody watches.
        self.due = 0.0
        #: When the last stall ended.
        self.stalled = 0.0
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)  # when it ended, how long it was

    def watch(self) -> None:
        """Beat in the running loop, if that is not so already; to be called when a beat is overdue."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        self.stop()
        self._loop = loop
        self._plan(loop, perf_counter())
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(_tell)

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self.due = 0.0

    def _plan(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self.due = now + PERIOD
        self._timer = loop.call_later(PERIOD, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = perf_counter()
        late = max(0.0, now - self.due)
        self._observe(late)
        if late >= STALL:
            self._stalls.append((now, late))
            self.stalled = now
        self._plan(loop, now)

    def fields(self, began: float, ended: float) -> dict[str, object]:
        """Return `loop_lag_ms`, the longest stall within a request, and `stall_before_ms`, the last one just before it.

        A stall that goes on now counts as one that ends now; of one that a request was born into, each gets its part.
        """
        within = before = 0.0
        for end, late in (*self._stalls, (ended, ended - self.due)):
            if late < STALL or end <= began - BEFORE:
                continue
            inside = max(0.0, min(late, end - began))
            if inside >= STALL:
                within = max(within, inside)
            if late - inside >= STALL:
                before = late - inside
        found = {"loop_lag_ms": within, "stall_before_ms": before}
        return {name: round(seconds * 1000, 3) for name, seconds in found.items() if seconds}


def _tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell of a failure that nobody awaited; asyncio's own words would show the exception's text, and arguments."""
    message = str(context.get("message") or "Unhandled error in the event loop")
    exc = context.get("exception")
    # The line is of the request that started the task; before Python 3.12 nobody can tell which that was.
    of_task = getattr(context.get("task") or context.get("future"), "get_context", copy_context)
    text = "Exception in callback" if message.startswith("Exception in callback") else message
    of_task().copy().run(logger.error, text, exc_info=exc)
