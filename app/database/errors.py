"""What goes wrong with the database, in the service's own words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.problems import UnavailableError

_NO_ANSWER = "The database does not answer."
_UNAVAILABLE = (
    OSError, PoolTimeoutError, InterfaceError, OperationalError, asyncpg.PostgresError, asyncpg.InterfaceError
)  # fmt: skip


class DatabaseTimeoutError(UnavailableError):
    """A statement took longer than `DATABASE_TIMEOUT`, and was cut."""


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what the statements of a block are for: `DatabaseTimeoutError` says it if one of them is cut."""
    try:
        yield
    except DBAPIError as exc:
        if _was_cut(exc):
            msg = f"Database timeout while {what}"
            raise DatabaseTimeoutError(msg) from exc
        raise


@contextmanager
def told_as_unavailable() -> Iterator[None]:
    """Raise `UnavailableError` for what goes wrong with the database, rather than with a statement."""
    try:
        with doing("using the database"):
            yield
    except _UNAVAILABLE as exc:
        raise UnavailableError(_NO_ANSWER) from exc
    except DBAPIError as exc:
        if exc.connection_invalidated:
            raise UnavailableError(_NO_ANSWER) from exc
        raise


def _was_cut(exc: DBAPIError) -> bool:
    return (
        getattr(exc.orig, "sqlstate", None) == asyncpg.QueryCanceledError.sqlstate
        or getattr(exc.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
    )
