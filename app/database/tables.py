"""What all tables have in common."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, TypeDecorator
from sqlalchemy.orm import DeclarativeBase

#: What a column of integers holds.
LARGEST_INTEGER = 2**31 - 1


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone, which is UTC, also in SQLite, which forgets it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the zone back."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    """What all tables have in common: the metadata that creates them."""
