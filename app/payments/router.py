"""The one route of payments."""

import logging
from collections import OrderedDict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.observability import annotate
from app.problems import problem

logger = logging.getLogger(__name__)

#: More than this is declined.
LIMIT_CENTS = 200_000
_REMEMBERED = 100_000


class Charge(BaseModel):
    """What is to be paid."""

    order_id: Annotated[int, Field(ge=1)]
    amount_cents: Annotated[int, Field(ge=1)]


def charges_router() -> APIRouter:
    """Make the route, with the charges that it remembers."""
    router = APIRouter(tags=["payments"])
    charged: OrderedDict[int, int] = OrderedDict()

    @router.post("/charges", status_code=201, response_model=Charge)
    async def charge(charge: Charge) -> Charge | Response:
        """Charge an order; asking twice charges once."""
        annotate(order_id=charge.order_id)
        if charge.amount_cents > LIMIT_CENTS:
            logger.warning("Payment declined", extra={"order_id": charge.order_id})
            return problem(HTTPStatus.PAYMENT_REQUIRED, f"More than {LIMIT_CENTS} cents.")
        again = charge.order_id in charged
        charged[charge.order_id] = charge.amount_cents
        if len(charged) > _REMEMBERED:
            charged.popitem(last=False)
        logger.info("Charged before" if again else "Payment captured", extra={"order_id": charge.order_id})
        return charge

    return router
