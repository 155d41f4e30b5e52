"""A limit on the time of a command, for servers, files and queries alike."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from triage.errors import TriageError

#: Seconds that a command may take, without the time in which it waits for a run to end.
TIME_LIMIT = 300.0


class TimeLimitError(TriageError):
    """Something took longer than it may."""


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitError` if the block, in the main thread, takes longer. Limits cannot be nested."""
    error = TimeLimitError(
        f"This took longer than {seconds:g} s: name fewer files or a shorter window, and check the servers"
    )
    expired = False

    def stop(*_: object) -> None:
        nonlocal expired
        expired = True
        raise error

    before = signal.signal(signal.SIGALRM, stop)
    # Again each second, in case that a library has caught the first one.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    except Exception:
        if expired:  # a query that a signal interrupts ends with DuckDB's exception
            raise error from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def pause_limit() -> Iterator[None]:
    """Do not count the time of the block, if there is a limit at all."""
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)
