"""The pool of connections: how long a request waited for one, and how many there are."""

import logging
from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import AsyncAdaptedQueuePool, PoolProxiedConnection, QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from app.observability import timer

# The pool's own lines name connections by their addresses, several times a request.
logging.getLogger(f"{__name__}.TimedPool").setLevel(logging.WARNING)


class TimedPool(AsyncAdaptedQueuePool):
    """A pool that tells a request how long it waited for a connection; SQLAlchemy has no event for that."""

    def connect(self) -> PoolProxiedConnection:
        """Check a connection out."""
        with timer("pool_wait"):
            return super().connect()


class PoolCollector(Collector):
    """The pool's connections as a metric."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Look at the pool of `engine` whenever metrics are read."""
        self._pool = engine.pool

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the one metric."""
        family = GaugeMetricFamily("db_pool_connections", "Connections of the pool, by state.", labels=["state"])
        if isinstance(self._pool, QueuePool):
            family.add_metric(["idle"], self._pool.checkedin())
            family.add_metric(["used"], self._pool.checkedout())
        yield family
