"""What is typed: options of several commands, of which `--jsonl` takes several paths, as Typer's do not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[
    list[Path] | None,
    typer.Option(
        "--jsonl",
        metavar="PATH...",
        help="Files and folders of lines to read, instead of a running stack; also *.jsonl.gz.",
    ),
]
Runs = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the folders of the load's runs are.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: JSON instead of text.")]
Service = Annotated[str, typer.Option(help="Whose requests.")]

_MANY = "--jsonl"


def spread(words: Sequence[str]) -> list[str]:
    """Say `--jsonl` before each of its paths: they end at the next option.

    `triage trace --jsonl run/ ID` has its id at the end of them.
    """
    spread_out: list[str] = []
    others: list[str] = []
    paths: list[str] = []
    for group in _groups(words):
        if group[0] == _MANY:
            paths = group[1:]
            spread_out += [word for path in paths for word in (_MANY, path)] or [_MANY]
        else:
            paths = []
            spread_out += group
            others += [word for word in group if not word.startswith("-")]
    if others == ["trace"] and len(paths) > 1:
        del spread_out[-2]  # the last of them is no path, but the id
    return spread_out


def _groups(words: Sequence[str]) -> list[list[str]]:
    """Cut before every option; what is before the first is a group, too."""
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("-") or not groups:
            groups.append([])
        groups[-1].append(word)
    return groups
