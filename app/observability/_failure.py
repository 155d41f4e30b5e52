"""What may be said of an exception and of a payload: facts, never a text that somebody else wrote."""

import json
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

#: The first bytes of a body that are kept until its request is done; a longer one is described by its size.
PAYLOAD_LIMIT = 16 * 1024

_MOST_FRAMES = 40
_MOST_KEYS = 32
_LONGEST_KEY = 64
# Longest first, so that a virtual environment inside the project is cut before the project is.
_ROOTS = sorted({str(Path(entry or ".").resolve()) + "/" for entry in sys.path}, key=len, reverse=True)


# uvicorn prints an exception that left the application although it is logged already; a filter looks for this mark.
_MARK = "_told_by_observability"


def mark_as_told(exc: BaseException) -> None:
    """Note on `exc` that its `request.failed` line is written; one that takes no notes is told by uvicorn, too."""
    with suppress(Exception):
        setattr(exc, _MARK, True)


def was_told(exc: BaseException) -> bool:
    """Return whether `exc` has its `request.failed` line."""
    return getattr(exc, _MARK, False)


def error_type(exc: BaseException) -> str:
    """Return the exception's class with its module; builtins without."""
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def stack(exc: BaseException) -> list[str]:
    """Return `file:line function` from the outermost call to the one that raised, then the same for each cause.

    Neither source lines nor exception texts: both may hold what a user sent.
    """
    lines: list[str] = []
    for number, link in enumerate(_chain(exc)):
        if number:
            lines.append(f"caused by {error_type(link)}")
        # Without `lookup_lines=False` this would read every source file from disk.
        frames = traceback.StackSummary.extract(traceback.walk_tb(link.__traceback__), lookup_lines=False)
        lines += [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
    if len(lines) > _MOST_FRAMES:
        half = _MOST_FRAMES // 2
        lines[half:-half] = [f"... {len(lines) - _MOST_FRAMES} more ..."]
    return lines


def _chain(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _short(filename: str) -> str:
    return next((filename.removeprefix(root) for root in _ROOTS if filename.startswith(root)), filename)


def payload_facts(body: bytes, size: int, content_type: str, values: Collection[str]) -> dict[str, object]:
    """Describe a request's body: of a JSON object its keys with types and sizes, of anything else type and size.

    `body` is the first `PAYLOAD_LIMIT` bytes of `size`. `values` are the keys whose scalar values may be told.
    """
    if not size:
        return {}
    if size == len(body) and "json" in content_type:
        try:
            parsed = json.loads(body)
        except ValueError:
            return {"content_type": content_type[:_LONGEST_KEY], "bytes": size, "json": "invalid"}
        if isinstance(parsed, Mapping):
            shown = list(parsed.items())[:_MOST_KEYS]
            return {key[:_LONGEST_KEY]: _told(value) if key in values else _kind(value) for key, value in shown}
    return {"content_type": content_type[:_LONGEST_KEY], "bytes": size}


def _told(value: object) -> object:
    short = isinstance(value, str) and len(value) <= _LONGEST_KEY
    return value if short or value is None or isinstance(value, bool | int | float) else _kind(value)


def _kind(value: object) -> str:
    if isinstance(value, str | list | dict):
        return f"{type(value).__name__}[{len(value)}]"
    return type(value).__name__
