"""JsonFormatter: one log record, one line of JSON."""

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pythonjsonlogger.orjson import OrjsonFormatter

from .context import RECORD_ATTRIBUTES
from .propagation import active_trace

#: The maximum, with the newline. Docker splits lines at 16 KiB, and neither part would be JSON.
MAX_LINE_BYTES = 8 * 1024

#: The fields of every line. `extra` cannot replace them.
STANDARD_FIELDS = ("timestamp", "level", "service", "instance", "trace_id", "span_id", "logger", "message")

_MAX_VALUE_BYTES = 2000  # of one field in a line that is too long
_MAX_DEPTH = 8
_MAX_FRAMES = 40
# `color_message` is uvicorn's message with terminal colours.
_NOT_EXTRA = RECORD_ATTRIBUTES | {*STANDARD_FIELDS, "color_message"}
# Valid in JSON, but `str.splitlines()` and other tools would split the line at them.
_LINE_SEPARATORS = {"\u2028": "\\u2028", "\u2029": "\\u2029", "\x85": "\\u0085"}
# Longest first, because a virtual environment may be a folder inside of the project.
_IMPORT_PATHS = sorted({f"{Path(entry or '.').resolve()}/" for entry in sys.path}, key=len, reverse=True)


class JsonFormatter(OrjsonFormatter):
    """Format any record as one line of JSON with its trace id, at most 8 KiB long.

    It can be used in any `dictConfig` and with any handler. Fields: `STANDARD_FIELDS`, everything in `extra`, and
    `error_type`, `error_message` and `stack` for `exc_info`.
    """

    def __init__(
        self, service: str, instance: str = "-", safe_exceptions: Sequence[type[BaseException]] | None = None
    ) -> None:
        """Name the service.

        Args:
            service: the same name as Prometheus's `job`.
            instance: `ip:port`, the same as Prometheus's `instance`.
            safe_exceptions: the exceptions whose messages are logged; by default, all. The messages of other
                libraries may contain what a user sent.
        """
        super().__init__(json_default=_text)
        self.service = service
        self.instance = instance
        self._safe_exceptions = None if safe_exceptions is None else tuple(safe_exceptions)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its newline; never raise."""
        try:
            return super().format(record)
        except Exception as exc:  # noqa: BLE001 - arguments that do not fit the message, or a broken `__str__`
            unformatted = logging.makeLogRecord({**record.__dict__, "msg": _text(record.msg), "args": None})
            unformatted.__dict__["log_error"] = type(exc).__name__
            return super().format(unformatted)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Add the fields of a record; `message_dict` is its message, if the message is a dictionary."""
        attributes = record.__dict__
        trace_id, span_id = attributes.get("trace_id"), attributes.get("span_id")
        if trace_id is None or span_id is None:  # a record made before `add_ids_to_records`, or by other code
            trace = active_trace()
            trace_id, span_id = trace.trace_id, trace.span_id
        log_data["timestamp"] = format_timestamp(record.created)
        log_data["level"] = level_name(record.levelno)
        log_data["service"] = self.service
        log_data["instance"] = self.instance
        log_data["trace_id"] = trace_id
        log_data["span_id"] = span_id
        log_data["logger"] = record.name
        log_data["message"] = record.message or message_dict.pop("message", "")
        for key, value in attributes.items():
            if key not in _NOT_EXTRA:
                log_data[key] = value  # noqa: PERF403 - a comprehension would make a second dictionary
        if message_dict:
            message_dict.pop("exc_info", None)
            for key, value in message_dict.items():
                log_data.setdefault(key, value)
        match record.exc_info:
            case (_, BaseException() as exc, *_):
                exception = describe_exception(exc, self._is_safe)
            case _:  # none, or something that is not an exception
                exception = {}
        for key, described in exception.items():
            log_data.setdefault(key, described)
        # A record from another process has the text only.
        if not exception and record.exc_text and self._safe_exceptions is None:
            log_data.setdefault("stack", record.exc_text)

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, ARG002, N802 - logging's name and types
        """Return an empty string, because `add_fields` describes the exception."""
        return ""

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Encode the fields; shorten them if the line would be too long."""
        try:
            line = _escape_line_separators(super().jsonify_log_record(log_data))
        except Exception:  # noqa: BLE001 - surrogates, huge integers, cycles, and anything that `__str__` raises
            line = _dumps(_plain(log_data))
        if len(line) * 4 >= MAX_LINE_BYTES and len(line.encode()) >= MAX_LINE_BYTES:
            line = _dumps(_shorten(_plain(log_data)))
        return line

    def _is_safe(self, exc: BaseException) -> bool:
        return self._safe_exceptions is None or isinstance(exc, self._safe_exceptions)


def format_timestamp(seconds: float) -> str:
    """Return a time since 1970 as RFC 3339 in UTC with microseconds."""
    second, microseconds = divmod(int(seconds * 1_000_000), 1_000_000)
    return f"{_format_second(second)}.{microseconds:06d}Z"


@lru_cache(maxsize=8)  # consecutive lines share their second, and `strftime` is slow
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def level_name(levelno: int) -> str:
    """Return the standard level of a number, so that renamed and custom levels keep their rank."""
    if levelno < logging.INFO:
        return "debug"
    if levelno < logging.WARNING:
        return "info"
    if levelno < logging.ERROR:
        return "warning"
    return "error" if levelno < logging.CRITICAL else "critical"


def describe_exception(
    exc: BaseException, show_message: Callable[[BaseException], bool] = lambda _: True
) -> dict[str, object]:
    """Return `error_type`, `error_message` and `stack` of an exception.

    The stack has `file:line function` for each frame, the outermost first, without source code. It includes the causes
    of the exception and the members of a group.
    """
    described: dict[str, object] = {"error_type": _type_name(exc)}
    if show_message(exc):
        described["error_message"] = _text(exc)
    stack: list[str] = []
    for relation, link in _chain(exc):
        if relation:
            message = f": {_text(link)}" if show_message(link) else ""
            stack.append(f"{relation} {_type_name(link)}{message}")
        # Without `lookup_lines=False` this would read every source file from disk.
        frames = traceback.StackSummary.extract(traceback.walk_tb(link.__traceback__), lookup_lines=False)
        stack += [f"{_relative(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
    if len(stack) > _MAX_FRAMES:
        half = _MAX_FRAMES // 2
        stack[half:-half] = [f"... {len(stack) - _MAX_FRAMES} more ..."]
    described["stack"] = stack
    return described


def _chain(exc: BaseException) -> Iterator[tuple[str, BaseException]]:
    seen: set[int] = set()
    pending: list[tuple[str, BaseException | None]] = [("", exc)]
    while pending:
        relation, link = pending.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield relation, link
        if isinstance(link, BaseExceptionGroup):
            pending += [("with", member) for member in link.exceptions]
        pending.append(("caused by", link.__cause__ or (None if link.__suppress_context__ else link.__context__)))


def _type_name(exc: BaseException) -> str:
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _relative(filename: str) -> str:
    return next((filename.removeprefix(path) for path in _IMPORT_PATHS if filename.startswith(path)), filename)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - `__str__` may raise anything
        return f"<{type(value).__name__} without a text>"


def _dumps(value: object) -> str:
    return _escape_line_separators(orjson.dumps(value).decode())


def _size(value: object) -> int:
    return len(_dumps(value).encode())


def _escape_line_separators(line: str) -> str:
    if not line.isascii():
        for separator, escaped in _LINE_SEPARATORS.items():
            line = line.replace(separator, escaped)
    return line


def _plain(value: object, parents: tuple[int, ...] = ()) -> Any:  # noqa: ANN401 - any JSON value
    """Return a copy that JSON can encode, without cycles and not deeper than `_MAX_DEPTH`; never raise."""
    try:
        return _plain_value(value, parents)
    except Exception:  # noqa: BLE001 - `items`, `__class__` and others may raise anything
        return f"<{type(value).__name__} without a text>"


def _plain_value(value: object, parents: tuple[int, ...]) -> Any:  # noqa: ANN401, PLR0911 - any JSON value
    match value:
        case None | bool():
            return value
        case float():
            return float.__float__(value)  # orjson refuses subclasses, such as NumPy's
        case int() if -(2**63) <= value < 2**64:
            return int(value)
        case str():
            return str.encode(value, "utf-8", "backslashreplace").decode()
        case Mapping() | list() | tuple() | set() | frozenset():
            if id(value) in parents or len(parents) >= _MAX_DEPTH:
                return "..."
            return _plain_items(value, (*parents, id(value)))
    return _plain(_text(value))


def _plain_items(value: Mapping[Any, Any] | Iterable[Any], parents: tuple[int, ...]) -> object:
    if isinstance(value, Mapping):
        return {_plain(_text(key)): _plain(item, parents) for key, item in value.items()}
    return [_plain(item, parents) for item in value]


def _shorten(fields: dict[str, Any]) -> dict[str, Any]:
    """Keep the fields that fit, in their order; long values are cut in the middle."""
    shortened: dict[str, Any] = {}
    budget = MAX_LINE_BYTES - _size({"truncated": True}) - 1
    for key, value in fields.items():
        item = {key: _shorten_value(value)}
        size = _size(item) - 1  # one comma instead of two braces
        if size <= budget:
            shortened |= item
            budget -= size
    return {**shortened, "truncated": True}


def _shorten_value(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    shortened, keep = value, len(value) if isinstance(value, str | list | dict) else 0
    while keep and _size(shortened) > _MAX_VALUE_BYTES:
        keep = min(keep * 2 // 3, _MAX_VALUE_BYTES)
        shortened = _head_and_tail(value, keep // 2)
    return shortened


def _head_and_tail(value: str | list[Any] | dict[str, Any], keep: int) -> object:
    omitted = f"... {len(value) - 2 * keep} more ..."
    match value:
        case str():
            return f"{value[:keep]}{omitted}{value[len(value) - keep :]}"
        case list():
            return [*value[:keep], omitted, *value[len(value) - keep :]]
        case dict():
            return {**dict(list(value.items())[: 2 * keep]), "...": omitted}
