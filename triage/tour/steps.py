"""The steps from a request to its log lines, how to check them, and what to do where one is broken."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

from triage.endpoints import Endpoints
from triage.errors import StoreError
from triage.ids import is_id
from triage.models import Exemplar, LogLine, Window
from triage.stores import loki, prometheus
from triage.stores.client import HttpClient
from triage.timelimit import TimeLimitError, limit_time

SERVICE = "api"

#: Seconds that the queries of one step may take, or those for spikes. Each has a time-out, but not for slow headers.
QUERY_LIMIT = 15.0

_LATE = 30.0  # seconds after which a line or exemplar that has not arrived is considered lost
_RECENT = 60.0  # seconds since a request that can be followed
_SETTLED = 2.0  # seconds in which all lines of a request normally arrive
_DATA_SOURCES = ("prometheus", "loki")


class Step(StrEnum):
    """A step that can be broken; the value is its name for the user."""

    SERVICE = "service"
    STDOUT = "stdout"
    PROXY = "socket proxy"
    ALLOY = "Alloy"
    LOKI = "Loki"
    SCRAPE = "scrape"
    EXEMPLARS = "exemplar storage"
    DATA_SOURCE = "data source"


def _restart(service: str, *hints: str) -> tuple[str, ...]:
    return (f"docker compose logs --tail 20 {service}", f"docker compose up --detach {service}", *hints)


#: Commands to run and hints, for each step.
FIXES = {
    Step.SERVICE: _restart("api", "A wrong setting is one line in its logs."),
    Step.STDOUT: (
        "docker compose logs --tail 20 api",
        "If that is empty, Docker's log driver is not json-file, which docker-compose.yml requests.",
        "If it is not, the lines are old, or the service's stdout is redirected.",
    ),
    Step.PROXY: _restart(
        "docker-socket-proxy", "With rootless Docker: DOCKER_SOCK=$XDG_RUNTIME_DIR/docker.sock docker compose up"
    ),
    Step.ALLOY: _restart("alloy"),
    Step.LOKI: _restart("loki"),
    Step.SCRAPE: _restart("prometheus", "The scrape targets are in prometheus/scrape/."),
    Step.EXEMPLARS: ("Start Prometheus with --enable-feature=exemplar-storage, as docker-compose.yml does.",),
    Step.DATA_SOURCE: _restart("grafana", "The data sources are in grafana/provisioning/datasources/."),
}


class BrokenStepError(Exception):
    """A broken step, and what is wrong with it."""

    def __init__(self, step: Step, reason: str) -> None:
        """Describe the symptom in `reason`."""
        super().__init__(reason)
        self.step, self.reason = step, reason


class NotYetError(Exception):
    """No step is known to be broken, but the check is not complete yet."""


class NoRequestsError(NotYetError):
    """There are no requests to follow."""


@contextmanager
def _checking(step: Step) -> Iterator[None]:
    try:
        with limit_time(QUERY_LIMIT):
            yield
    except TimeLimitError:
        raise BrokenStepError(step, f"The check of this step took longer than {QUERY_LIMIT:g} s.") from None
    except StoreError as exc:
        raise BrokenStepError(step, str(exc)) from None


class Success(NamedTuple):
    """An exemplar in Prometheus, and its lines in Loki."""

    exemplar: prometheus.LabelledExemplar
    lines: Sequence[LogLine]


class StepChecker:
    """Check all steps along the newest request, which is followed over several checks until it has arrived."""

    def __init__(self, endpoints: Endpoints) -> None:
        """Query these servers."""
        self._endpoints = endpoints
        self._alloy = AlloyFailures(endpoints.alloy)
        self._request: Exemplar | None = None
        self._previous: Exemplar | None = None

    def check(self, now: float) -> Success:
        """Check the steps in order; raise `BrokenStepError` for the first broken one, or `NotYetError`."""
        newest = self._newest_request(now)
        self._request = self._request or newest
        self._alloy.check(now)
        with _checking(Step.LOKI):
            self._endpoints.loki.text("/ready")
        self._skip_lost_request(now)
        self._previous = newest
        if self._request is not None:
            self._lines(self._request, now)
        self._check_scrapes()
        exemplar = self._request and self._exemplar(self._request, now)
        for uid in _DATA_SOURCES:
            with _checking(Step.DATA_SOURCE):
                self._endpoints.grafana.json(f"/api/datasources/uid/{uid}/health")
        self._request = None
        if exemplar is None:
            msg = "There are no requests"
            raise NoRequestsError(msg)
        return Success(exemplar, self._lines(exemplar.exemplar, now))

    def _newest_request(self, now: float) -> Exemplar | None:
        """Return the newest exemplar on the service's own /metrics page, if it is recent."""
        with _checking(Step.SERVICE):
            self._endpoints.api.text("/readyz")
            page = self._endpoints.api.text("/metrics", accept="application/openmetrics-text")
        newest = prometheus.newest_exemplar(page, prometheus.BUCKETS)
        return newest if newest and newest.at > now - _RECENT and is_id(newest.trace_id) else None

    def _skip_lost_request(self, now: float) -> None:
        """Follow a later request if the lines of the first one are lost, and those of the later one have arrived."""
        first, later = self._request, self._previous
        if first and later and now - first.at >= _LATE and not self._finished(first) and self._finished(later):
            self._request = later

    def _lines(self, request: Exemplar, now: float) -> Sequence[LogLine]:
        if lines := self._finished(request):
            return lines
        if now - request.at < _LATE:
            msg = "The lines of a request have not arrived yet"
            raise NotYetError(msg)
        with _checking(Step.LOKI):
            window = Window(request.arrived, now + 60)
            others = loki.query_lines(self._endpoints.loki, f'{{service_name="{SERVICE}"}}', window, limit=1)
        raise self._alloy.explain_missing_lines(request, now, others_arrived=bool(others))

    def _finished(self, request: Exemplar) -> Sequence[LogLine]:
        """Return the lines of a request if its `request.finished` line is among them.

        Compare the span id, because other services have a `request.finished` line with the same trace id.
        """
        with _checking(Step.LOKI):
            lines = loki.lines_of_request(self._endpoints.loki, request)
        spans = {line.fields.get("span_id") for line in lines if line.fields.get("event") == "request.finished"}
        return lines if request.span_id in spans else ()

    def _check_scrapes(self) -> None:
        # The metric `up` would not do: after a restart, Prometheus returns its old values for five minutes.
        with _checking(Step.SCRAPE):
            targets = prometheus.query_targets(self._endpoints.prometheus, SERVICE)
        if not targets:
            raise BrokenStepError(Step.SCRAPE, f"Prometheus has no target of the job {SERVICE!r}.")
        health = {health for health, _ in targets}
        if "up" in health:
            return
        if "unknown" in health:
            msg = "Prometheus has not scraped the service yet"
            raise NotYetError(msg)
        raise BrokenStepError(Step.SCRAPE, f"Prometheus cannot scrape the service: {targets[0][1]}")

    def _exemplar(self, request: Exemplar, now: float) -> prometheus.LabelledExemplar:
        """Return an exemplar in Prometheus that is at least as new as the request.

        It may be of another request, because a scrape only brings the newest exemplar of each bucket.
        """
        with _checking(Step.SCRAPE):
            window = Window(request.at - 0.01, now + 60)
            exemplars = prometheus.query_exemplars(self._endpoints.prometheus, SERVICE, window)
            exemplars = [each for each in exemplars if is_id(each.exemplar.trace_id)]
            if exemplars:
                settled = [each for each in exemplars if each.exemplar.at < now - _SETTLED]
                return (settled or exemplars)[-1]
            if not prometheus.stores_exemplars(self._endpoints.prometheus):
                raise BrokenStepError(Step.EXEMPLARS, "Prometheus counts requests but does not store exemplars.")
        if now - request.at < _LATE:
            msg = "The exemplar of a request has not arrived yet"
            raise NotYetError(msg)
        reason = f"The service exposes an exemplar, but {_LATE:.0f} s later Prometheus does not have it."
        raise BrokenStepError(Step.EXEMPLARS, reason)


class AlloyFailures:
    """Failure counters of Alloy, which reports its components as healthy even if Docker does not respond."""

    _RECENT = 13.0  # seconds; Alloy queries Docker every five seconds, and the tour checks as often
    _DISCOVERY = 'component_id="discovery.docker.ours"'

    def __init__(self, client: HttpClient) -> None:
        """Query `client`."""
        self._client = client
        self._discovery, self._delivery = _FailureCounter(), _FailureCounter()

    def check(self, now: float) -> None:
        """Read the counters; raise `BrokenStepError` if Alloy does not respond or cannot query Docker."""
        with _checking(Step.ALLOY):
            page = self._client.text("/metrics")
        failures = prometheus.sum_samples(page, "prometheus_sd_refresh_failures_total", self._DISCOVERY)
        self._discovery.update(failures, now)
        requests = "loki_write_request_duration_seconds_count"
        accepted = prometheus.sum_samples(page, requests, 'status_code="204"')
        self._delivery.update(prometheus.sum_samples(page, requests) - accepted, now)
        if now - self._discovery.last_failure < self._RECENT:
            raise BrokenStepError(Step.PROXY, "Alloy cannot read Docker's socket, so it receives no lines.")

    def explain_missing_lines(self, request: Exemplar, now: float, *, others_arrived: bool) -> BrokenStepError:
        """Return which step lost the lines of a request; `others_arrived`: lines of later requests are in Loki."""
        age = f"{now - request.at:.0f} s"
        if self._delivery.last_failure > request.at:
            return BrokenStepError(Step.LOKI, f"No lines for {age}: Loki rejects what Alloy sends.")
        if others_arrived:
            reason = f"The lines of the request {request.trace_id} have been missing for {age}, but others arrive."
            return BrokenStepError(Step.ALLOY, reason)
        reason = f"No lines for {age}: Docker responds, but Alloy finds no lines of the service to read."
        return BrokenStepError(Step.STDOUT, reason)


class _FailureCounter:
    def __init__(self) -> None:
        self._count: float | None = None
        self.last_failure = float("-inf")

    def update(self, count: float, now: float) -> None:
        if self._count is not None and count > self._count:
            self.last_failure = now
        self._count = count
