"""The table of faults, which all replicas read."""

import time
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, get_args

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base

Kind = Literal["slow-query", "database-timeout"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: The route that manages faults. It is never affected by one, so that every fault can be ended.
FAULTS_ROUTE = "/faults"
#: The delay of a `database-timeout`: longer than DATABASE_TIMEOUT can be.
TIMEOUT_DELAY_MS = 60_000
_CLOCK_TOLERANCE = 60  # seconds; the clocks of replicas differ


class Fault(Base):
    """One fault. Times are in seconds since 1970."""

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
    def expired(self) -> bool:
        """Whether its time is over. `ended` is set a little later, by one of the replicas.

        So is a fault that starts in the future: the clock has stepped back, and the fault would last longer.
        """
        now = time.time()
        return self.until <= now or self.started_at > now + _CLOCK_TOLERANCE

    def matches(self, route: str, user_id: int | None, request_id: str) -> bool:
        """Return whether it affects a request.

        `share` is compared with a hash of `seed` and the request id, so that a repeated run has the same slow requests.
        """
        if self.expired or (self.route is not None and self.route != route):
            return False
        if self.users is not None and user_id not in self.users:
            return False
        digest = sha256(f"{self.seed}:{request_id}".encode()).digest()
        return int.from_bytes(digest[:8]) < self.share * 2**64

    def log_fields(self) -> dict[str, object]:
        """Return the fields of `fault.started` and `fault.ended`."""
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
