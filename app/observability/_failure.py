"""What may be said of an exception: facts, never a text that somebody else wrote."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MOST_FRAMES = 40
# Longest first, so that a virtual environment inside the project is cut before the project is.
_ROOTS = sorted({str(Path(entry or ".").resolve()) + "/" for entry in sys.path}, key=len, reverse=True)

# How Starlette says to an application that its client left; by name, for it may not be there.
_DISCONNECTS = frozenset({"ClientDisconnect", "WebSocketDisconnect"})

# uvicorn prints an exception that left the application although it is logged already; a filter looks for this mark.
_MARK = "_told_by_observability"


def mark_as_told(exc: BaseException) -> None:
    """Note on `exc` that its line is written."""
    with suppress(Exception):
        exc.__dict__[_MARK] = True  # not `setattr`, which a frozen dataclass refuses


def was_told(exc: BaseException) -> bool:
    """Return whether `exc` has its line."""
    return _MARK in exc.__dict__


def is_disconnect(exc: BaseException) -> bool:
    """Return whether `exc` only says that the client left; the server's own `OSError` is known by who caught it."""
    return type(exc).__name__ in _DISCONNECTS


def error_type(exc: BaseException) -> str:
    """Return the exception's class with its module; builtins without."""
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def stack(exc: BaseException) -> list[str]:
    """Return `file:line function` from the outermost call to the one that raised, then the same for what is behind it.

    Neither source lines nor exception texts: both may hold what a user sent.
    """
    lines: list[str] = []
    for how, link in _chain(exc):
        if how:
            lines.append(f"{how} {error_type(link)}")
        # Without `lookup_lines=False` this would read every source file from disk.
        frames = traceback.StackSummary.extract(traceback.walk_tb(link.__traceback__), lookup_lines=False)
        lines += [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
    if len(lines) > _MOST_FRAMES:
        half = _MOST_FRAMES // 2
        lines[half:-half] = [f"... {len(lines) - _MOST_FRAMES} more ..."]
    return lines


def _chain(exc: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Walk from an exception to its causes and to the members of groups, each once."""
    seen: set[int] = set()
    todo: list[tuple[str, BaseException | None]] = [("", exc)]
    while todo:
        how, link = todo.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield how, link
        if isinstance(link, BaseExceptionGroup):
            todo += [("with", member) for member in link.exceptions]
        todo.append(("caused by", link.__cause__ or (None if link.__suppress_context__ else link.__context__)))


def _short(filename: str) -> str:
    return next((filename.removeprefix(root) for root in _ROOTS if filename.startswith(root)), filename)
