"""The table of faults: what every replica reads to know what it has to suffer."""

import time
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, get_args

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base

Kind = Literal["slow-query", "database-timeout"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: The lab's own route, which suffers from no fault: somebody has to be able to end it.
LAB_ROUTE = "/faults"
#: How long the statement of a `database-timeout` would take: longer than DATABASE_TIMEOUT can be.
ENDLESS_MS = 60_000


class Fault(Base):
    """One incident. Times are in seconds since 1970, so that replicas compare them with their own clocks."""

    __tablename__ = "faults"

    id: Mapped[int] = mapped_column(primary_key=True)
    fault: Mapped[str] = mapped_column(String(40))
    route: Mapped[str | None] = mapped_column(String(100))
    users: Mapped[list[int] | None] = mapped_column(JSON)
    share: Mapped[float]
    delay_ms: Mapped[int]
    seed: Mapped[int]
    started_at: Mapped[float]
    until: Mapped[float]
    ended: Mapped[bool] = mapped_column(default=False, index=True)

    @property
    def over(self) -> bool:
        """Whether its time is up."""
        return self.until <= time.time()

    def hits(self, route: str, user_id: int | None, request: str) -> bool:
        """Whether a request suffers: by its route, its user, and its share of all requests.

        The share goes by a hash of seed and request id, so that the same run suffers in the same requests.
        """
        if self.over or (self.route is not None and self.route != route):
            return False
        if self.users is not None and user_id not in self.users:
            return False
        draw = int.from_bytes(sha256(f"{self.seed}:{request}".encode()).digest()[:8])
        return draw < self.share * 2**64

    def facts(self) -> dict[str, object]:
        """Return what its two log lines say."""
        until = datetime.fromtimestamp(self.until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "fault": self.fault,
            "fault_id": self.id,
            "fault_route": self.route,
            "fault_users": self.users,
            "fault_share": self.share,
            "fault_delay_ms": self.delay_ms,
            "fault_until": until,
        }
