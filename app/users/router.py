"""The routes of users."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.dependencies import PathId, Session
from app.pagination import Page, PageQuery
from app.users.models import User
from app.users.repository import UserRepository
from app.users.schemas import NewUser, UserOut
from app.users.service import UserService

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/users", tags=["users"])


def user_service(session: Session) -> UserService:
    """Return the service for one request."""
    return UserService(UserRepository(session))


Service = Annotated[UserService, Depends(user_service)]


@router.get("", response_model=Page[UserOut])
async def list_users(page: PageQuery, users: Service) -> dict[str, object]:
    """List users, the oldest first."""
    logger.debug("Listing users")
    items, total = await users.page(page)
    return {"items": items, "total": total, "limit": page.limit, "offset": page.offset}


@router.get("/{user_id}", response_model=UserOut)
async def get_user(user_id: PathId, users: Service) -> User:
    """Get one user."""
    logger.debug("Fetching a user", extra={"user_id": user_id})
    return await users.get(user_id)


@router.post("", status_code=201, response_model=UserOut)
async def create_user(new: NewUser, users: Service, response: Response) -> User:
    """Create a user."""
    logger.debug("Creating a user")
    user = await users.create(new.email, new.name)
    response.headers["Location"] = f"/users/{user.id}"
    return user
