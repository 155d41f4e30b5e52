"""The routes of orders."""

import logging
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response

from app.dependencies import PathId, RowId, Session
from app.orders.models import Order
from app.orders.repository import OrderRepository
from app.orders.schemas import NewOrder, OrderOut
from app.orders.service import OrderService, send_receipt
from app.pagination import Page, PageParams
from app.users.router import user_service

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/orders", tags=["orders"])


def order_service(request: Request, session: Session) -> OrderService:
    """Return the service for one request."""
    return OrderService(OrderRepository(session), user_service(session), request.app.state.payments)


Service = Annotated[OrderService, Depends(order_service)]


class OrdersParams(PageParams):
    """The query parameters of the list of orders."""

    user_id: RowId | None = None


@router.get("", response_model=Page[OrderOut])
async def list_orders(page: Annotated[OrdersParams, Query()], orders: Service) -> dict[str, object]:
    """List orders, the latest first; of one user, if given."""
    logger.debug("Listing orders")
    items, total = await orders.page(page, page.user_id)
    return {"items": items, "total": total, "limit": page.limit, "offset": page.offset}


@router.get("/{order_id}", response_model=OrderOut)
async def get_order(order_id: PathId, orders: Service) -> Order:
    """Get one order."""
    logger.debug("Fetching an order", extra={"order_id": order_id})
    return await orders.get(order_id)


@router.post("", status_code=201, response_model=OrderOut)
async def place_order(new: NewOrder, orders: Service, response: Response, background: BackgroundTasks) -> Order:
    """Place an order and charge it. The receipt is sent after the response."""
    logger.debug("Placing an order", extra={"user_id": new.user_id})
    order = await orders.place(new)
    response.headers["Location"] = f"/orders/{order.id}"
    background.add_task(send_receipt, order.id)
    return order
