"""The business logic of users."""

import logging
from collections.abc import Sequence

from app.errors import NotFoundError
from app.observability import annotate
from app.pagination import PageParams
from app.users.models import User
from app.users.repository import UserRepository

logger = logging.getLogger(__name__)


class UserService:
    """Get, list and create users."""

    def __init__(self, users: UserRepository) -> None:
        """Use the repository `users`."""
        self._users = users

    async def get(self, user_id: int) -> User:
        """Return a user. Raises `NotFoundError`."""
        annotate(user_id=user_id)
        user = await self._users.get(user_id)
        if user is None:
            msg = f"User {user_id} does not exist."
            raise NotFoundError(msg)
        logger.info("User fetched", extra={"user_id": user_id})
        return user

    async def page(self, page: PageParams) -> tuple[Sequence[User], int]:
        """Return one page of users and the number of all users."""
        return await self._users.page(page)

    async def create(self, email: str, name: str) -> User:
        """Create a user. Raises `ConflictError` if the email is in use."""
        user = await self._users.add(email, name)
        annotate(user_id=user.id)
        logger.info("User created", extra={"user_id": user.id})
        return user
