"""Measure event-loop lag: while a coroutine blocks the loop, other requests wait, and their timers do not show why."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter
from typing import Any

INTERVAL = 0.020  # seconds between two runs of the timer
THRESHOLD = 0.020  # seconds; shorter delays are normal
_REMEMBERED = 64  # blocks that are kept, for requests that last longer than one of them

logger = logging.getLogger("observability")


class LagMonitor:
    """Measure how late a timer of the running event loop is."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        """Pass the lag of each run to `observe`, in seconds."""
        self._observe = observe
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._last_block = 0.0
        self._blocks: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)  # end and length

    def start(self) -> None:
        """Start in the running event loop; do nothing if it runs there already."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self.stop()
            self._loop = loop
            self._schedule(loop, perf_counter())
            if loop.get_exception_handler() is None:
                loop.set_exception_handler(_log_loop_error)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None

    def longest_block(self, started: float, ended: float) -> float:
        """Return the longest time in seconds for which the loop was blocked between two times of `perf_counter`.

        A coroutine that blocks may end before the timer runs, so an overdue timer counts as well.
        """
        if ended < self._due + THRESHOLD and self._last_block <= started:
            return 0.0
        blocks = (*self._blocks, (ended, ended - self._due))
        longest = max(min(length, end - started) for end, length in blocks)
        return longest if longest >= THRESHOLD else 0.0

    def _schedule(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self._due = now + INTERVAL
        self._timer = loop.call_later(INTERVAL, self._run, loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        now = perf_counter()
        lag = max(0.0, now - self._due)
        self._observe(lag)
        if lag >= THRESHOLD:
            self._blocks.append((now, lag))
            self._last_block = now
        self._schedule(loop, now)


def _log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the failure of a task that was never awaited, or of a callback.

    asyncio's default handler would put the arguments and the exception's message into the log message.
    """
    message = str(context.get("message") or "Unhandled error in the event loop")
    text = "Exception in callback" if message.startswith("Exception in callback") else message
    # With the id of the request that started the task. Before Python 3.12 a task does not show its context.
    get_context = getattr(context.get("task") or context.get("future"), "get_context", copy_context)
    get_context().copy().run(logger.error, text, exc_info=context.get("exception"))
