"""A request's body: its head is kept while it passes, and described if the request fails."""

import json
from collections.abc import Collection, Mapping

from ._identity import Headers

#: The first bytes of a body that are kept until its request is done; a longer one is described by its size.
PAYLOAD_LIMIT = 16 * 1024

_MOST_KEYS = 32
_LONGEST_KEY = 64


class Payload:
    """What is known of one request's body."""

    __slots__ = ("_head", "_size")

    def __init__(self) -> None:
        self._head = b""
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Note the next part of the body."""
        self._size += len(chunk)
        self._head += chunk[: max(0, PAYLOAD_LIMIT - len(self._head))]

    def facts(self, headers: Headers, values: Collection[str]) -> dict[str, object]:
        """Describe a JSON object by its keys with types and sizes, anything else by type and size.

        `values` are the keys whose scalar values may be told. Keys are a client's, too: their number and length is
        bounded.
        """
        content_type = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
        about = {"content_type": content_type[:_LONGEST_KEY], "bytes": self._size}
        if self._size > len(self._head) or "json" not in content_type:
            return about
        try:
            parsed = json.loads(self._head)
        except (ValueError, RecursionError):
            return {**about, "json": "invalid"}
        if not isinstance(parsed, Mapping):
            return about
        shown = list(parsed.items())[:_MOST_KEYS]
        return {key[:_LONGEST_KEY]: _told(value) if key in values else _kind(value) for key, value in shown}


def _told(value: object) -> object:
    short = isinstance(value, str) and len(value) <= _LONGEST_KEY
    return value if short or value is None or isinstance(value, bool | int | float) else _kind(value)


def _kind(value: object) -> str:
    if isinstance(value, str | list | dict):
        return f"{type(value).__name__}[{len(value)}]"
    return type(value).__name__
