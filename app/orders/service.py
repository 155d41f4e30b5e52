"""The business logic of orders."""

import logging
from collections.abc import Sequence

from app.errors import NotFoundError, ServiceError, UnavailableError
from app.observability import annotate
from app.orders.models import Order
from app.orders.payments import PaymentDeclinedError, PaymentsClient
from app.orders.repository import OrderRepository
from app.orders.schemas import NewOrder, Status
from app.pagination import PageParams
from app.users.service import UserService

logger = logging.getLogger(__name__)

#: In cents.
PRICES = {"sticker": 250, "mug": 1_200, "shirt": 2_500, "poster": 900}


class OrderService:
    """Get, list and place orders."""

    def __init__(self, orders: OrderRepository, users: UserService, payments: PaymentsClient) -> None:
        """Use the repository `orders`, the service `users` and the client `payments`."""
        self._orders = orders
        self._users = users
        self._payments = payments

    async def get(self, order_id: int) -> Order:
        """Return an order. Raises `NotFoundError`."""
        order = await self._orders.get(order_id)
        if order is None:
            msg = f"Order {order_id} does not exist."
            raise NotFoundError(msg)
        annotate(user_id=order.user_id)
        logger.info("Order fetched", extra={"order_id": order_id})
        return order

    async def page(self, page: PageParams, user_id: int | None) -> tuple[Sequence[Order], int]:
        """Return one page of orders and the number of all orders; of one user, if given."""
        if user_id is not None:
            annotate(user_id=user_id)
        return await self._orders.page(page, user_id)

    async def place(self, new: NewOrder) -> Order:
        """Store and charge an order. Raises `NotFoundError`, `PaymentDeclinedError` and `UnavailableError`."""
        user = await self._users.get(new.user_id)
        if new.sku not in PRICES:
            msg = f"Unknown sku. Available: {', '.join(PRICES)}."
            raise NotFoundError(msg)
        amount = PRICES[new.sku] * new.quantity
        order = Order(user_id=user.id, sku=new.sku, quantity=new.quantity, amount_cents=amount, status="pending")
        # Stored before the charge, so that the connection is back in the pool while payments works.
        await self._orders.save(order)
        await self._pay(order)
        logger.info("Order placed", extra={"order_id": order.id, "user_id": user.id})
        return order

    async def _pay(self, order: Order) -> None:
        error: ServiceError | None = None
        status: Status = "paid"
        try:
            await self._payments.charge(order.id, order.amount_cents)
        except PaymentDeclinedError as exc:
            error, status = exc, "declined"
        except UnavailableError as exc:
            error, status = exc, "unpaid"
        order.status = status
        await self._orders.save(order)
        if error is not None:
            raise error


async def send_receipt(order_id: int) -> None:
    """Send the receipt. The log lines of background tasks have the trace id of their request."""
    logger.info("Receipt sent", extra={"order_id": order_id})
