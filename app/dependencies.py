"""Dependencies of the routes: a database session, ids of rows, and numbers in JSON bodies."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import BeforeValidator, Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import MAX_INTEGER, Database


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.session() as session:
        yield session


# With the scope "function", the connection is back in the pool before the response is sent.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]


def _only_numbers(value: object) -> object:
    # pydantic would convert them, but OpenAPI's `integer` does not include them. Its strict mode refuses 1.0 as well.
    if isinstance(value, bool | str):
        msg = "should be a number"
        raise ValueError(msg)  # noqa: TRY004 - pydantic expects it
    return value


#: Annotates a number in a JSON body, after its limits.
NUMBER = BeforeValidator(_only_numbers)

#: The id of a row.
RowId = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
#: The id of a row as a path parameter.
PathId = Annotated[RowId, Path()]
#: The id of a row in a JSON body.
JsonId = Annotated[RowId, NUMBER]
