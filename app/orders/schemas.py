"""Request and response bodies for orders."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.dependencies import NUMBER, JsonId
from app.limits import RequestBody

Status = Literal["pending", "paid", "declined", "unpaid"]


class NewOrder(RequestBody):
    """An order to place."""

    user_id: JsonId
    sku: Annotated[str, Field(max_length=40)]
    quantity: Annotated[int, Field(ge=1, le=100), NUMBER] = 1


class OrderOut(BaseModel):
    """An order."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    user_id: int
    sku: str
    quantity: int
    amount_cents: int
    status: Status
    created_at: datetime
