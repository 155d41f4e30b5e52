"""Database access for orders."""

import logging
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import operation
from app.orders.models import Order
from app.pagination import PageParams

logger = logging.getLogger(__name__)


class OrderRepository:
    """The orders in the database."""

    def __init__(self, session: AsyncSession) -> None:
        """Use `session`."""
        self._session = session

    async def get(self, order_id: int) -> Order | None:
        """Return the order, or `None`."""
        with operation("fetching order"):
            order = await self._session.get(Order, order_id)
        logger.debug("Order %s in the database", "found" if order else "not found", extra={"order_id": order_id})
        return order

    async def page(self, page: PageParams, user_id: int | None) -> tuple[Sequence[Order], int]:
        """Return one page of orders, the latest first, and the number of all orders; of one user, if given."""
        chosen = select(Order) if user_id is None else select(Order).where(Order.user_id == user_id)
        latest = chosen.order_by(Order.id.desc()).limit(page.limit).offset(page.offset)
        with operation("listing orders"):
            orders = (await self._session.scalars(latest)).all()
            total = await self._session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
        logger.debug("%d of %d orders read", len(orders), total)
        return orders, total

    async def save(self, order: Order) -> None:
        """Store a new or changed order, and return the connection to the pool."""
        self._session.add(order)
        with operation("storing order"):
            await self._session.commit()
        logger.debug("Order stored as %s", order.status, extra={"order_id": order.id})
