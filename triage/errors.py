"""User-facing errors and the exit codes of the commands."""

EXIT_MISMATCH = 1
EXIT_ERROR = 2
EXIT_INVALID = 3  # of the verdict: the load run cannot be judged
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


class TriageError(Exception):
    """An error that is shown to the user as one sentence, with exit code 2."""


class OutputClosedError(BrokenPipeError):
    """The reader of stdout has closed the pipe.

    It has no `errno`, because Typer would turn a `BrokenPipeError` with `EPIPE` into exit code 1.
    """


class StoreError(TriageError):
    """A store of logs or metrics that cannot be read or does not answer."""
