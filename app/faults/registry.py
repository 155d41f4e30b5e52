"""The active faults, read from the table every second by every replica."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import select, update

from app.database import Database, operation
from app.faults.models import KINDS, Fault

logger = logging.getLogger(__name__)


class FaultRegistry:
    """The active faults, as of the last read of the table."""

    def __init__(self, database: Database, interval: float = 1.0) -> None:
        """Use the table in `database`; `watch` reads it every `interval` seconds."""
        self._database = database
        self._interval = interval
        self.active: Sequence[Fault] = ()

    def register_metrics(self, registry: CollectorRegistry) -> None:
        """Add `fault_active` to the metrics of `registry`."""
        gauge = Gauge("fault_active", "Whether a fault is active.", ["fault"], registry=registry)
        for kind in KINDS:
            gauge.labels(kind).set_function(partial(self._is_active, kind))

    async def watch(self) -> None:
        """Read the table at each interval. An error is logged once, until another one occurs or reading works again."""
        last_error: type[Exception] | None = None
        while True:
            try:
                await self.refresh()
                last_error = None
            except Exception as exc:
                if type(exc) is not last_error:
                    logger.warning("Faults cannot be read", exc_info=exc)
                last_error = type(exc)
            await asyncio.sleep(self._interval)

    async def refresh(self) -> None:
        """Read the table once, and log the faults that have ended."""
        async with self._database.session() as session:
            with operation("reading faults"):
                faults = (await session.scalars(select(Fault).where(~Fault.ended))).all()
            for fault in (fault for fault in faults if fault.expired):
                # Only one of the replicas updates the row, and only that one logs the end.
                claim = update(Fault).where(Fault.id == fault.id, ~Fault.ended).values(ended=True)
                if (await session.execute(claim.returning(Fault.id))).first():
                    await session.commit()
                    logger.warning("Fault ended", extra={"event": "fault.ended", **fault.log_fields()})
        self.active = [fault for fault in faults if not fault.expired]

    async def start(self, fault: Fault) -> None:
        """Start a fault."""
        async with self._database.session() as session:
            session.add(fault)
            with operation("storing fault"):
                await session.commit()
        logger.warning("Fault started", extra={"event": "fault.started", **fault.log_fields()})
        await self.refresh()

    async def stop_all(self) -> None:
        """End all faults."""
        async with self._database.session() as session:
            with operation("ending faults"):
                await session.execute(update(Fault).where(~Fault.ended).values(until=time.time()))
                await session.commit()
        await self.refresh()

    def _is_active(self, kind: str) -> float:
        return any(fault.fault == kind and not fault.expired for fault in self.active)
