"""Fields -> JSON, whatever is in them: any object may be logged, and may do anything when it is asked for its text."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

_DEEPEST = 8
_LONGEST_VALUE = 2000
_LARGEST, _SMALLEST = 2**64 - 1, -(2**63)  # the integers of orjson
# JSON allows U+2028, U+2029 and U+0085 raw, but readers that split text into lines do not: they would see more lines.
_SEPARATORS = {b"\xe2\x80\xa8": b"\\u2028", b"\xe2\x80\xa9": b"\\u2029", b"\xc2\x85": b"\\u0085"}


def encode(fields: Mapping[str, Any], limit: int) -> bytes:
    """Return one line of JSON in UTF-8, at most `limit` bytes; what is too long loses its middle. Never raises."""
    try:
        text = orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS)
    except Exception:  # noqa: BLE001 - surrogates, huge integers, cycles, and whatever `__str__` raises
        text = _dumps(plain(fields))
    if b"\xe2\x80" in text or b"\xc2\x85" in text:
        text = _escaped(text)
    return text if len(text) <= limit else _dumps(_shortened(plain(fields), limit))


def text_of(value: object) -> str:
    """Return an object's text, if it has one."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - it may raise anything
        return f"<{type(value).__name__} without a text>"


def _dumps(value: object) -> bytes:
    return _escaped(orjson.dumps(value))


def _escaped(text: bytes) -> bytes:
    for separator, escaped in _SEPARATORS.items():
        text = text.replace(separator, escaped)
    return text


def plain(value: object, inside: tuple[int, ...] = ()) -> Any:  # noqa: ANN401 - whatever JSON has
    """Return a value that JSON can hold, and that tells as much of the given one as can be told. Never raises."""
    try:
        return _plain(value, inside)
    except Exception:  # noqa: BLE001 - `items`, `__class__` and the like may raise anything
        return f"<{type(value).__name__} without a text>"


def _plain(value: object, inside: tuple[int, ...]) -> Any:  # noqa: ANN401 - whatever JSON has
    match value:
        case None | bool():
            return value
        case float():
            return float.__float__(value)  # orjson refuses numbers that are a little more, such as numpy's
        case int() if _SMALLEST <= value <= _LARGEST:
            return value
        case str():
            return str.encode(value, "utf-8", "backslashreplace").decode()
        case Mapping() | list() | tuple() | set() | frozenset():
            return _plain_items(value, (*inside, id(value)))
    return plain(text_of(value))


def _plain_items(value: Mapping[Any, Any] | Iterable[Any], inside: tuple[int, ...]) -> object:
    if inside[-1] in inside[:-1] or len(inside) > _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {plain(text_of(key)): plain(item, inside) for key, item in value.items()}
    return [plain(item, inside) for item in value]


def _shortened(fields: dict[str, Any], limit: int) -> dict[str, Any]:
    """Keep the fields as long as there is room, the first ones first, and say that this is not all."""
    kept: dict[str, Any] = {"truncated": True}
    room = limit - len(_dumps(kept))
    for key, value in fields.items():
        piece = _piece(value)
        size = len(_dumps({key: piece}))
        if size <= room:
            kept[key] = piece
            room -= size
    kept["truncated"] = kept.pop("truncated")
    return kept


def _piece(value: Any) -> Any:  # noqa: ANN401 - whatever JSON has
    """Return the head and the tail of what is too long for a field."""
    keep, piece = len(value) if isinstance(value, str | list | dict) else 0, value
    while keep and len(_dumps(piece)) > _LONGEST_VALUE:
        keep = min(keep * 2 // 3, _LONGEST_VALUE)
        piece = _ends(value, keep // 2)
    return piece


def _ends(value: str | list[Any] | dict[str, Any], keep: int) -> object:
    left_out = f"... {len(value) - 2 * keep} more ..."
    match value:
        case str():
            return f"{value[:keep]}{left_out}{value[len(value) - keep :]}"
        case list():
            return [*value[:keep], left_out, *value[len(value) - keep :]]
        case dict():
            return {**dict(list(value.items())[: 2 * keep]), "...": left_out}
