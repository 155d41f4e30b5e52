"""The body of a request, described by keys, types and sizes."""

import json
from collections.abc import Collection

from .propagation import Headers

#: At most this much of a body is kept until the request ends. A longer body is described by its size.
MAX_BODY_BYTES = 16 * 1024

_MAX_KEYS = 32
_MAX_TEXT = 64


class Payload:
    """Collect the body of one request while the application reads it."""

    __slots__ = ("_head", "_size")

    def __init__(self) -> None:
        """Start empty."""
        self._head = b""
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Add the next part of the body."""
        self._size += len(chunk)
        self._head += chunk[: max(0, MAX_BODY_BYTES - len(self._head))]

    def describe(self, headers: Headers, loggable: Collection[str]) -> dict[str, object]:
        """Return the keys of a JSON object with types and sizes; of any other body, its type and size.

        `loggable` are the keys whose values may be logged. Keys come from the client, too, so their number and length
        are limited.
        """
        if not self._size:
            return {}
        content_type = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
        summary: dict[str, object] = {"content_type": content_type[:_MAX_TEXT], "bytes": self._size}
        if self._size > len(self._head) or "json" not in content_type:
            return summary
        try:
            body = json.loads(self._head)
        except (ValueError, RecursionError):
            return {**summary, "json": "invalid"}
        if not isinstance(body, dict):
            return summary
        return {
            key[:_MAX_TEXT]: value if key in loggable and _is_short(value) else _describe_type(value)
            for key, value in list(body.items())[:_MAX_KEYS]
        }


def _is_short(value: object) -> bool:
    return len(value) <= _MAX_TEXT if isinstance(value, str) else value is None or isinstance(value, bool | int | float)


def _describe_type(value: object) -> str:
    if isinstance(value, str | list | dict):
        return f"{type(value).__name__}[{len(value)}]"
    return type(value).__name__
