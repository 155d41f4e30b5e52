"""Request and response bodies for users."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from app.limits import RequestBody

# Without control characters: PostgreSQL cannot store NUL, and regular expressions differ in which ones are space.
_CONTROL = r"\x00-\x1f\x7f-\x9f"
_EMAIL = rf"^[^@\s{_CONTROL}]+@[^@\s{_CONTROL}]+$"  # more can only be checked by sending an email
_TEXT = rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*$"


class NewUser(RequestBody):
    """A user to create."""

    email: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=254, pattern=_EMAIL)]
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_TEXT)]


class UserOut(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    name: str
    created_at: datetime
