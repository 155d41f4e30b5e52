"""What can be done with users."""

import logging
from collections.abc import Sequence

from app.observability import annotate
from app.pages import Page
from app.problems import NotFoundError
from app.users.models import User
from app.users.repository import UserRepository

logger = logging.getLogger(__name__)


class UserService:
    """The rules about users."""

    def __init__(self, users: UserRepository) -> None:
        """Keep users in `users`."""
        self._users = users

    async def get(self, user_id: int) -> User:
        """Return a user; `NotFoundError` if there is none."""
        annotate(user_id=user_id)
        user = await self._users.get(user_id)
        if user is None:
            msg = f"There is no user {user_id}."
            raise NotFoundError(msg)
        logger.info("User fetched", extra={"user_id": user_id})
        return user

    async def page(self, page: Page) -> tuple[Sequence[User], int]:
        """Return one page of users and how many there are."""
        return await self._users.page(page)

    async def create(self, email: str, name: str) -> User:
        """Create a user; `ConflictError` if the address is taken."""
        user = await self._users.add(email, name)
        annotate(user_id=user.id)
        logger.info("User created", extra={"user_id": user.id})
        return user
