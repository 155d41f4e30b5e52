"""What Alloy says of its own work, and who is to blame for lines that do not come.

Alloy calls its components healthy while the engine does not answer them; its counters tell.
"""

from triage.model import Exemplar
from triage.stores import StoreError, _exposition
from triage.stores._http import Server
from triage.tour.hops import BrokenError, Hop

_RECENT = 13.0  # seconds: the engine is asked every five, and so is this
_ENGINE = 'component_id="discovery.docker.ours"'


class Reading:
    """The counters of Alloy's troubles, from one look to the next."""

    def __init__(self, alloy: Server) -> None:
        """Know nothing yet."""
        self._alloy = alloy
        self._unheard, self._refused = _Trouble(), _Trouble()

    def look(self, now: float) -> None:
        """Look again; `BrokenError` if Alloy does not answer, or cannot ask the engine."""
        try:
            page = self._alloy.text("/metrics")
        except StoreError as exc:
            raise BrokenError(Hop.ALLOY, str(exc)) from None
        self._unheard.count(_exposition.total(page, "prometheus_sd_refresh_failures_total", _ENGINE), now)
        sent = "loki_write_request_duration_seconds_count"
        accepted = _exposition.total(page, sent, 'status_code="204"')
        self._refused.count(_exposition.total(page, sent) - accepted, now)
        if now - self._unheard.at < _RECENT:
            raise BrokenError(Hop.PROXY, "Alloy cannot read the engine's socket, so no lines come.")

    def blame(self, request: Exemplar, now: float, *, others: bool) -> BrokenError:
        """Say who lost the lines of a request; `others`: those of later requests came."""
        age = f"{now - request.at:.0f} s"
        if self._refused.at > request.at:
            return BrokenError(Hop.LOKI, f"No lines since {age}: Loki refuses what Alloy sends.")
        if others:
            why = (
                f"Lines come, and those of the request {request.trace_id} do not since {age}: they are lost on the way."
            )
            return BrokenError(Hop.ALLOY, why)
        why = f"No lines since {age}: the service writes them, the engine answers, and Alloy has none to read."
        return BrokenError(Hop.STDOUT, why)


class _Trouble:
    """A counter of failures, and when it grew last."""

    def __init__(self) -> None:
        self._count: float | None = None
        self.at = float("-inf")

    def count(self, failures: float, now: float) -> None:
        if self._count is not None and failures > self._count:
            self.at = now
        self._count = failures
