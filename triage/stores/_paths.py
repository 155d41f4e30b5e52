"""From the paths that a person names to the files that are read."""

import os
from collections.abc import Iterable
from pathlib import Path

from triage.stores import StoreError

_ENDINGS = (".jsonl", ".jsonl.gz", ".log")


def files(paths: Iterable[Path]) -> list[Path]:
    """Return the files that `paths` name, each once; of a folder, those whose names end as lines' files do."""
    found: dict[Path, None] = {}
    for path in paths:
        try:
            found.update(dict.fromkeys(_within(path)))
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "No path has such a name"
            msg = f"Cannot read {path}: {reason}; name a file or folder of lines that you may read."
            raise StoreError(msg) from None
    return list(found)


def _within(path: Path) -> list[Path]:
    if path.is_dir():
        inside = [file.resolve() for file in sorted(path.iterdir()) if file.name.endswith(_ENDINGS) and file.is_file()]
        if not inside:
            msg = f"No {', '.join('*' + ending for ending in _ENDINGS)} in the folder {path}; name one that has lines."
            raise StoreError(msg)
    else:
        path.stat()
        if not path.is_file():
            msg = f"{path} is neither a file nor a folder; name one that has lines."
            raise StoreError(msg)
        inside = [path.resolve()]
    for file in inside:
        os.close(os.open(file, os.O_RDONLY))
    return inside
