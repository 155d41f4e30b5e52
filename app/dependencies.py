"""Dependencies of the routes: a database session, and the id of a row."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import MAX_INTEGER, Database


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.session() as session:
        yield session


# With the scope "function", the connection is back in the pool before the response is sent.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]

#: The id of a row.
RowId = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
#: The id of a row as a path parameter.
PathId = Annotated[RowId, Path()]
