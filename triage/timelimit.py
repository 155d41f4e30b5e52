"""A limit on the time of a command, whatever it waits for: a server, a file, or a query."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from triage.errors import TriageError

#: Seconds that a command may take, without the time in which it waits for a run to end.
TIME_LIMIT = 300.0


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Raise `TriageError` in the main thread if the block takes longer."""

    def stop(*_: object) -> None:
        # Again, in case that a library has caught the first one.
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        msg = f"This took longer than {seconds:g} s: name fewer files or a shorter window, and check the servers"
        raise TriageError(msg)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
