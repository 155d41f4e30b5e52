"""What routes ask for: a session of the application's database."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import LARGEST_INTEGER, Database


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.session() as session:
        yield session


# With the scope of the function, the connection is back in the pool before the response is sent.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]

#: The id of a row.
RowId = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
#: The same in a path.
Id = Annotated[RowId, Path()]
