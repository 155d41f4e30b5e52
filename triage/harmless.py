"""The one place where text of others is made harmless: no terminal obeys it, and nobody is misled by it."""

import json


def harmless(text: str) -> str:
    """Return `text` with everything that would act, or not be seen, written as an escape.

    Python calls nothing printable that controls a terminal, orders text such as a bidi override, separates lines, is
    half a character, or is a space that looks like another.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if number > 0xFFFF:  # noqa: PLR2004 - the last that four digits can say
        return f"\\U{number:08x}"
    return f"\\u{number:04x}" if number > 0xFF else f"\\x{number:02x}"  # noqa: PLR2004 - two digits


def harmless_json(value: object) -> str:
    """Return JSON that is harmless as it is: in ASCII, with escapes for all that acts."""
    return json.dumps(value, ensure_ascii=True, indent=2, default=str)


def harmless_line(value: object) -> str:
    """Return such JSON as one line."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str)
