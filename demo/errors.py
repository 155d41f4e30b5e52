"""The error that the demo prints."""


class DemoError(Exception):
    """A failure with a message for the user, without a period at its end; the exit code is 1."""
