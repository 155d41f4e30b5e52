"""Load docker-compose.yml and other configuration files, for tests that check them or run the services natively."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from app.settings import Settings

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"


class _Loader(yaml.SafeLoader):
    """A safe loader with the compose tag `!reset`."""


_Loader.add_constructor("!reset", lambda _loader, _node: None)


def compose() -> dict[str, Any]:
    """Return the parsed docker-compose.yml."""
    content: dict[str, Any] = yaml.load(FILE.read_text(), _Loader)  # noqa: S506 - a safe loader
    return content


def load_yaml(path: str) -> Any:
    """Return the parsed content of a file of this project."""
    return yaml.safe_load((ROOT / path).read_text())


def pool_size(service: str) -> int:
    """Return the number of database connections that one container of a service may open."""
    default = Settings.model_fields["database_pool_size"].default
    return int(compose()["services"][service]["environment"].get("DATABASE_POOL_SIZE", default))


def max_connections(command: Sequence[str]) -> int:
    """Return the number of connections that PostgreSQL accepts, by its command line."""
    (maximum,) = re.findall(r"max_connections=(\d+)", " ".join(command))
    return int(maximum)
