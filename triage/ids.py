"""Trace ids and request ids."""

import re

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def is_id(text: str) -> bool:
    """Return whether `text` is a valid trace id or request id."""
    return _ID.fullmatch(text) is not None
