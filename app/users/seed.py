"""The users of a new database."""

from datetime import UTC, datetime

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.users.models import User

SEEDED = 200


async def seed_users(connection: AsyncConnection) -> None:
    """Add 200 users, if there are none."""
    if await connection.scalar(select(func.count(User.id))):
        return
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {"email": f"user{number}@example.com", "name": f"User {number}", "created_at": created_at}
        for number in range(1, SEEDED + 1)
    ]
    await connection.execute(insert(User), rows)
