"""What is wrong now: the rows of the table, read each second by every replica."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import select, update

from app.database import Database, doing
from app.faults.models import KINDS, Fault

logger = logging.getLogger(__name__)

_PERIOD = 1.0  # seconds between two looks at the table


class FaultBoard(Collector):
    """The faults that are active, as this replica knows them; also the metric that says so."""

    def __init__(self, database: Database) -> None:
        """Keep faults in `database`."""
        self._database = database
        self.active: Sequence[Fault] = ()

    async def watch(self) -> None:
        """Read the table for ever; whatever is in the way is told of once."""
        trouble: type[Exception] | None = None
        while True:
            try:
                await self.refresh()
                trouble = None
            except Exception as exc:
                if type(exc) is not trouble:
                    logger.warning("Faults cannot be read", exc_info=exc)
                trouble = type(exc)
            await asyncio.sleep(_PERIOD)

    async def refresh(self) -> None:
        """Read the table once, and announce the ends that nobody has announced."""
        async with self._database.session() as session:
            with doing("reading faults"):
                faults = (await session.scalars(select(Fault).where(~Fault.ended))).all()
            for fault in (fault for fault in faults if fault.over):
                # All replicas see the end; the one whose update finds the row unchanged tells of it.
                claim = update(Fault).where(Fault.id == fault.id, ~Fault.ended).values(ended=True)
                if (await session.execute(claim.returning(Fault.id))).first():
                    await session.commit()
                    logger.warning("Fault ended", extra={"event": "fault.ended", **fault.facts()})
        self.active = [fault for fault in faults if not fault.over]

    async def start(self, fault: Fault) -> None:
        """Begin a fault."""
        async with self._database.session() as session:
            session.add(fault)
            with doing("storing fault"):
                await session.commit()
        logger.warning("Fault started", extra={"event": "fault.started", **fault.facts()})
        await self.refresh()

    async def stop(self) -> None:
        """End all faults now."""
        async with self._database.session() as session:
            with doing("ending faults"):
                await session.execute(update(Fault).where(~Fault.ended).values(until=time.time()))
                await session.commit()
        await self.refresh()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metric `fault_active`."""
        family = GaugeMetricFamily("fault_active", "Whether a fault of the lab is active.", labels=["fault"])
        for kind in KINDS:
            family.add_metric([kind], any(fault.fault == kind and not fault.over for fault in self.active))
        yield family
