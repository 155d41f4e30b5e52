"""The database's room: engine and sessions, tables, the pool, and what is watched on every statement."""

from app.database.engine import Database
from app.database.errors import DatabaseTimeoutError, doing
from app.database.pool import PoolCollector
from app.database.tables import LARGEST_INTEGER, Base, UtcDateTime

__all__ = ["LARGEST_INTEGER", "Base", "Database", "DatabaseTimeoutError", "PoolCollector", "UtcDateTime", "doing"]
