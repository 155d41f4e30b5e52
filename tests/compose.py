"""Load docker-compose.yml, for tests that check it or run its services as native processes."""

from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "docker-compose.yml"


class _Loader(yaml.SafeLoader):
    """A safe loader with the compose tag `!reset`."""


_Loader.add_constructor("!reset", lambda _loader, _node: None)


def compose() -> dict[str, Any]:
    """Return the parsed docker-compose.yml."""
    content: dict[str, Any] = yaml.load(FILE.read_text(), _Loader)  # noqa: S506 - a safe loader
    return content
