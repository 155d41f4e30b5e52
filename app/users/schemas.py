"""Request and response bodies for users."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

_EMAIL = r"^[^@\s\x00]+@[^@\s\x00]+$"  # more can only be checked by sending an email
_TEXT = r"^[^\x00]+$"  # PostgreSQL cannot store NUL in a text


class NewUser(BaseModel):
    """A user to create."""

    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=254, pattern=_EMAIL)]
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_TEXT)]


class UserOut(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    name: str
    created_at: datetime
