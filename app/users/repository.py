"""Database access for users. No method has a trace id as an argument, but every log line has one."""

import logging
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import operation
from app.errors import ConflictError
from app.pagination import PageParams
from app.users.models import User

logger = logging.getLogger(__name__)


class UserRepository:
    """The users in the database."""

    def __init__(self, session: AsyncSession) -> None:
        """Use `session`."""
        self._session = session

    async def get(self, user_id: int) -> User | None:
        """Return the user, or `None`."""
        with operation("fetching user"):
            user = await self._session.get(User, user_id)
        logger.debug("User %s in the database", "found" if user else "not found", extra={"user_id": user_id})
        return user

    async def page(self, page: PageParams) -> tuple[Sequence[User], int]:
        """Return one page of users, the oldest first, and the number of all users."""
        oldest = select(User).order_by(User.id).limit(page.limit).offset(page.offset)
        with operation("listing users"):
            users = (await self._session.scalars(oldest)).all()
            total = await self._session.scalar(select(func.count(User.id))) or 0
        logger.debug("%d of %d users read", len(users), total)
        return users, total

    async def add(self, email: str, name: str) -> User:
        """Store a new user. Raises `ConflictError` if the email is in use."""
        user = User(email=email, name=name)
        self._session.add(user)
        try:
            with operation("storing user"):
                await self._session.commit()
        except IntegrityError:
            msg = "A user with this email already exists."
            raise ConflictError(msg) from None
        logger.debug("User stored", extra={"user_id": user.id})
        return user
