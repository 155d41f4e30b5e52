"""What is asked of the service, apart from when: both loops ask for the same, in the same shares."""

import random
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from loadtest.population import KNOWN_USERS

#: The shares that are shipped.
SHIPPED = Path(__file__).with_name("users.toml")

_SKUS = ("sticker", "mug", "shirt", "poster")
_WEIGHTS = TypeAdapter(dict[str, int])


class Ask(NamedTuple):
    """One request; `name` groups it in Locust's tables by its route."""

    method: str
    path: str
    name: str
    body: dict[str, object] | None = None


def browse(chance: random.Random) -> Ask:
    """Get a user, or list some."""
    if chance.random() < 0.8:  # noqa: PLR2004 - mostly
        return Ask("GET", f"/users/{chance.choice(KNOWN_USERS)}", "/users/{user_id}")
    return Ask("GET", f"/users?limit=20&offset={chance.randrange(0, 180, 20)}", "/users")


def buy(chance: random.Random) -> Ask:
    """Place an order."""
    user_id, sku = chance.choice(KNOWN_USERS), chance.choice(_SKUS)
    return Ask("POST", "/orders", "/orders", {"user_id": user_id, "sku": sku, "quantity": chance.randint(1, 3)})


def report(chance: random.Random) -> Ask:
    """List a user's orders."""
    return Ask("GET", f"/orders?user_id={chance.choice(KNOWN_USERS)}&limit=50", "/orders?user_id")


#: What each kind of user does.
KINDS: Mapping[str, Callable[[random.Random], Ask]] = {"Browse": browse, "Buy": buy, "Report": report}


class UsersFileError(ValueError):
    """A file of weights that cannot be used, and why."""


def read_weights(path: Path) -> dict[str, int]:
    """Return how many of each kind of user there are, relative to each other."""
    try:
        weights = _WEIGHTS.validate_python(tomllib.loads(path.read_text(encoding="utf-8")), strict=True)
    except OSError as exc:
        msg = f"{path} cannot be read: {exc.strerror}"
        raise UsersFileError(msg) from None
    except ValidationError as exc:
        msg = f"{path}: {exc.errors()[0]['loc'][0]} should be a whole number"
        raise UsersFileError(msg) from None
    except ValueError as exc:  # TOML's own, or of the encoding
        msg = f"{path} is not TOML: {exc}"
        raise UsersFileError(msg) from None
    if unknown := sorted(weights.keys() - KINDS.keys()):
        msg = f"{path}: {unknown[0]} is none of {', '.join(KINDS)}"
        raise UsersFileError(msg)
    if min(weights.values(), default=0) < 0 or not any(weights.values()):
        msg = f"{path}: weights are 0 or more, and not all of them 0"
        raise UsersFileError(msg)
    return {kind: weights.get(kind, 0) for kind in KINDS}
