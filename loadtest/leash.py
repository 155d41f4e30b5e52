"""`python loadtest/leash.py PARENT COMMAND...`: become COMMAND, which on Linux dies with the process PARENT.

A program of its own, because what runs between fork and exec in a process with threads may hang.
"""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel, and become the command; elsewhere than on Linux there is nobody to ask."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            sys.exit(1)  # it died before the kernel was asked
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the demo starts its children with signals blocked
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
