"""How a command ends: one sentence on stderr, and the exit code."""

import sys

from triage.harmless import harmless

MISMATCH = 1
CANNOT = 2
INVALID = 3  # a run of the load that measured nothing
CLOSED = 141  # ... where the reader of a pipe went away
INTERRUPTED = 130  # what a shell expects after Ctrl-C


class CannotTellError(Exception):
    """A sentence that says what a person has to mend."""


def say(sentence: str) -> None:
    """Say a sentence on stderr, whatever its text is made of."""
    text = harmless(" ".join(sentence.split()))
    if text[-1:] not in {".", "!", "?"}:
        text += "."
    sys.stderr.write(f"{text}\n")
