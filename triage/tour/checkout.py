"""Files of the checkout that containers mount but cannot read, because it was made with a strict umask."""

import os
from collections.abc import Sequence
from pathlib import Path


def unreadable_files(checkout: Path) -> Sequence[Path]:
    """Return the files and folders that this process cannot read, relative to `checkout`.

    It runs as neither their owner nor in their group, like the other containers.
    """
    found = []
    for folder, folders, files in os.walk(checkout):
        for names, mode in ((folders, os.R_OK | os.X_OK), (files, os.R_OK)):
            paths = (Path(folder, name) for name in names)
            found += [path.relative_to(checkout) for path in paths if not os.access(path, mode)]
    return sorted(found)
