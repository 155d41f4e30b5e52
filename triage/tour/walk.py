"""One walk after the other: from the newest request of the service, hop by hop, to its dot and its lines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from triage.model import Exemplar, Line, Window
from triage.stores import StoreError, _exposition, _logql, _promql
from triage.tour.hops import BrokenError, Hop, RestingError, WaitingError
from triage.tour.places import Places
from triage.tour.reading import Reading

SERVICE = "api"

LATE = 30.0  # seconds after which what has not come will not come
_FRESH = 60.0  # seconds for which a request is a recent one
_SETTLED = 2.0  # seconds in which lines come
_SOURCES = ("prometheus", "loki")


class Walked(NamedTuple):
    """A dot, and the lines that it leads to."""

    dot: _promql.Named
    lines: Sequence[Line]


@contextmanager
def _of(hop: Hop) -> Iterator[None]:
    try:
        yield
    except StoreError as exc:
        raise BrokenError(hop, str(exc)) from None


class Walk:
    """What is asked each time, and the request that is followed until it has arrived."""

    def __init__(self, places: Places) -> None:
        """Follow nothing yet."""
        self._at = places
        self._reading = Reading(places.alloy)
        self._request: Exemplar | None = None
        self._before: Exemplar | None = None

    def step(self, now: float) -> Walked:
        """Walk as far as it goes; `BrokenError` names the first broken hop, `WaitingError` what has yet to happen."""
        newest = self._newest(now)
        self._request = self._request or newest
        self._reading.look(now)
        with _of(Hop.LOKI):
            self._at.loki.text("/ready")
        self._go_on(now)
        self._before = newest
        if self._request is not None:
            self._lines(self._request, now)
        self._scraped()
        dot = self._request and self._dot(self._request, now)
        self._shown()
        self._request = None
        if dot is None:
            msg = "Nobody makes requests"
            raise RestingError(msg)
        return Walked(dot, self._lines(dot.exemplar, now))

    def _go_on(self, now: float) -> None:
        """Follow a later request where the lines of the first one are lost, and those of the later one have come."""
        first, later = self._request, self._before
        if first and later and now - first.at >= LATE and not self._finished(first) and self._finished(later):
            self._request = later

    def _newest(self, now: float) -> Exemplar | None:
        """Return the last request of which the service's own page of metrics knows the id."""
        with _of(Hop.SERVICE):
            self._at.api.text("/readyz")
            page = self._at.api.text("/metrics", accept="application/openmetrics-text")
        newest = _exposition.newest(page, _promql.BUCKETS)
        return newest if newest and newest.at > now - _FRESH and _logql.is_id(newest.trace_id) else None

    def _lines(self, request: Exemplar, now: float) -> Sequence[Line]:
        if found := self._finished(request):
            return found
        if now - request.at < LATE:
            msg = "The lines of a request are on their way"
            raise WaitingError(msg)
        with _of(Hop.LOKI):
            others = _logql.lines(
                self._at.loki, f'{{service_name="{SERVICE}"}}', Window(request.arrived, now + 60), most=1
            )
        raise self._reading.blame(request, now, others=bool(others))

    def _finished(self, request: Exemplar) -> Sequence[Line]:
        """Return the lines of a request if there is the one that each has, which says that it is finished.

        It is told by its span: another service finished a request of this trace, too, and its lines may come alone.
        """
        with _of(Hop.LOKI):
            found = _logql.of_request(self._at.loki, request)
        said = {line.fields.get("span_id") for line in found if line.fields.get("event") == "request.finished"}
        return found if request.span_id in said else ()

    def _scraped(self) -> None:
        # Not `up`: a Prometheus that was started again remembers for five minutes how its targets were before.
        with _of(Hop.SCRAPE):
            targets = _promql.targets(self._at.prometheus, SERVICE)
        if not targets:
            raise BrokenError(Hop.SCRAPE, f"Prometheus has no target of the job {SERVICE!r}.")
        health = {health for health, _ in targets}
        if "up" in health:
            return
        if "unknown" in health:
            msg = "Prometheus has yet to scrape the service"
            raise WaitingError(msg)
        raise BrokenError(Hop.SCRAPE, f"Prometheus cannot scrape the service: {targets[0][1]}")

    def _dot(self, request: Exemplar, now: float) -> _promql.Named:
        """Return a dot that is as new as the request: each scrape brings the newest of each bucket."""
        with _of(Hop.SCRAPE):
            found = _promql.exemplars(self._at.prometheus, SERVICE, Window(request.at - 0.01, now + 60))
            found = [each for each in found if _logql.is_id(each.exemplar.trace_id)]
            if found:
                settled = [each for each in found if each.exemplar.at < now - _SETTLED]
                return (settled or found)[-1]
            if not _promql.keeps_exemplars(self._at.prometheus):
                raise BrokenError(
                    Hop.EXEMPLARS, "Prometheus counts requests, and keeps no exemplars: there are no dots."
                )
        if now - request.at < LATE:
            msg = "The dot of a request is on its way"
            raise WaitingError(msg)
        raise BrokenError(
            Hop.EXEMPLARS, f"The service names a request, and {LATE:.0f} s later Prometheus has no dot of it."
        )

    def _shown(self) -> None:
        for uid in _SOURCES:
            with _of(Hop.SOURCE):
                self._at.grafana.json(f"/api/datasources/uid/{uid}/health")
