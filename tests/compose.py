"""docker-compose.yml as data: for tests that hold it to its promises, or run its servers natively."""

from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "docker-compose.yml"


class _Loader(yaml.SafeLoader):
    """YAML with the one tag of compose that the file uses."""


_Loader.add_constructor("!reset", lambda _loader, _node: None)


def compose() -> dict[str, Any]:
    """Return the file's content."""
    content: dict[str, Any] = yaml.load(FILE.read_text(), _Loader)  # noqa: S506 - a safe loader
    return content
