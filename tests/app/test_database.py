"""The database's settings, each of which is missed only on a bad day."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.problems import UnavailableError
from app.settings import Settings

pytestmark = pytest.mark.anyio


async def test_sqlite_lets_readers_pass_the_writer(tmp_path: Path) -> None:
    """WAL, and seconds of patience for a lock: otherwise two requests at once would be an error."""
    database = Database(Settings(database_url=f"sqlite:///{tmp_path}/tested.db").async_database_url, 1, 3)
    async with database.session() as session:
        pragmas = [await session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "busy_timeout")]
    await database.engine.dispose()

    assert ["wal", 5000] == pragmas


async def test_an_error_does_not_say_what_a_user_sent(database_url: str) -> None:
    """SQLAlchemy would add the parameters to the text."""
    database = Database(Settings(database_url=database_url).async_database_url, 1, 3)
    with pytest.raises((SQLAlchemyError, UnavailableError)) as caught:
        async with database.session() as session:
            await session.execute(text("SELECT nothing FROM nowhere WHERE secret = :secret"), {"secret": "hunter2"})
    await database.engine.dispose()

    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"
