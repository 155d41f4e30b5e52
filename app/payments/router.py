"""The route of payments."""

import logging
from collections import OrderedDict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.dependencies import NUMBER
from app.errors import problem
from app.observability import annotate

logger = logging.getLogger(__name__)

_LIMIT_CENTS = 200_000
_MAX_REMEMBERED = 100_000


class Charge(BaseModel):
    """An order to charge."""

    order_id: Annotated[int, Field(ge=1), NUMBER]
    amount_cents: Annotated[int, Field(ge=1), NUMBER]


def charges_router() -> APIRouter:
    """Return the route. The charges are kept in memory."""
    router = APIRouter(tags=["payments"])
    charged: OrderedDict[int, int] = OrderedDict()

    @router.post("/charges", status_code=201, response_model=Charge)
    async def charge(charge: Charge) -> Charge | Response:
        """Charge an order. A repeated request charges it once."""
        annotate(order_id=charge.order_id)
        if charge.amount_cents > _LIMIT_CENTS:
            logger.warning("Payment declined", extra={"order_id": charge.order_id})
            return problem(HTTPStatus.PAYMENT_REQUIRED, f"The amount is above the limit of {_LIMIT_CENTS} cents.")
        repeated = charge.order_id in charged
        charged[charge.order_id] = charge.amount_cents
        if len(charged) > _MAX_REMEMBERED:
            charged.popitem(last=False)
        logger.info("Payment already captured" if repeated else "Payment captured", extra={"order_id": charge.order_id})
        return charge

    return router
