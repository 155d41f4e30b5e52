"""`python loadtest/pdeathsig.py PARENT COMMAND...`: run COMMAND so that, on Linux, it is killed when PARENT ends.

It is a separate program because code that runs between fork and exec can hang in a process with threads.
"""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the signal, and replace this process by the command. Other systems have no such signal."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            sys.exit(1)  # the parent ended before the signal was set
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the demo starts its processes with signals blocked
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
