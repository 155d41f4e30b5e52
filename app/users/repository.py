"""Users in the database. No method takes a trace id, and every line has one."""

import logging
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import doing
from app.pages import Page
from app.problems import ConflictError
from app.users.models import User

logger = logging.getLogger(__name__)


class UserRepository:
    """Users, by session."""

    def __init__(self, session: AsyncSession) -> None:
        """Read and write through `session`."""
        self._session = session

    async def get(self, user_id: int) -> User | None:
        """Return the user, or `None`."""
        with doing("fetching user"):
            user = await self._session.get(User, user_id)
        logger.debug("User %s in the database", "found" if user else "not found", extra={"user_id": user_id})
        return user

    async def page(self, page: Page) -> tuple[Sequence[User], int]:
        """Return one page of users, the oldest first, and how many there are."""
        oldest = select(User).order_by(User.id).limit(page.limit).offset(page.offset)
        with doing("listing users"):
            users = (await self._session.scalars(oldest)).all()
            total = await self._session.scalar(select(func.count(User.id))) or 0
        logger.debug("%d of %d users read", len(users), total)
        return users, total

    async def add(self, email: str, name: str) -> User:
        """Store a new user; `ConflictError` if the address is taken."""
        user = User(email=email, name=name)
        self._session.add(user)
        try:
            with doing("storing user"):
                await self._session.commit()
        except IntegrityError:
            msg = "There is a user with this email already."
            raise ConflictError(msg) from None
        logger.debug("User stored", extra={"user_id": user.id})
        return user
