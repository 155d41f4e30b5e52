"""What can be done with orders."""

import logging
from collections.abc import Sequence

from app.observability import annotate
from app.orders.models import Order
from app.orders.payments import PaymentDeclinedError, PaymentsClient
from app.orders.repository import OrderRepository
from app.orders.schemas import NewOrder, Status
from app.pages import Page
from app.problems import NotFoundError, ServiceError, UnavailableError
from app.users.service import UserService

logger = logging.getLogger(__name__)

#: What can be bought, in cents.
PRICES = {"sticker": 250, "mug": 1_200, "shirt": 2_500, "poster": 900}


class OrderService:
    """The rules about orders."""

    def __init__(self, orders: OrderRepository, users: UserService, payments: PaymentsClient) -> None:
        """Keep orders in `orders`, for `users`, paid through `payments`."""
        self._orders = orders
        self._users = users
        self._payments = payments

    async def get(self, order_id: int) -> Order:
        """Return an order; `NotFoundError` if there is none."""
        order = await self._orders.get(order_id)
        if order is None:
            msg = f"There is no order {order_id}."
            raise NotFoundError(msg)
        annotate(user_id=order.user_id)
        logger.info("Order fetched", extra={"order_id": order_id})
        return order

    async def page(self, page: Page, user_id: int | None) -> tuple[Sequence[Order], int]:
        """Return one page of orders and how many there are."""
        if user_id is not None:
            annotate(user_id=user_id)
        return await self._orders.page(page, user_id)

    async def place(self, new: NewOrder) -> Order:
        """Store an order and have it paid; `NotFoundError`, `PaymentDeclinedError`, `UnavailableError`."""
        user = await self._users.get(new.user_id)
        if new.sku not in PRICES:
            msg = f"There is no such thing to buy; there is {', '.join(PRICES)}."
            raise NotFoundError(msg)
        amount = PRICES[new.sku] * new.quantity
        order = Order(user_id=user.id, sku=new.sku, quantity=new.quantity, amount_cents=amount, status="pending")
        # Stored before it is paid: the connection goes back to the pool while payments thinks.
        await self._orders.save(order)
        await self._pay(order)
        logger.info("Order placed", extra={"order_id": order.id, "user_id": user.id})
        return order

    async def _pay(self, order: Order) -> None:
        refused: ServiceError | None = None
        status: Status = "paid"
        try:
            await self._payments.charge(order.id, order.amount_cents)
        except PaymentDeclinedError as exc:
            refused, status = exc, "declined"
        except UnavailableError as exc:
            refused, status = exc, "unpaid"
        order.status = status
        await self._orders.save(order)
        if refused is not None:
            raise refused


async def send_receipt(order_id: int) -> None:
    """Send the receipt, after the response: what a background task logs has the id, too."""
    logger.info("Receipt sent", extra={"order_id": order_id})
