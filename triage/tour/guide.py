"""The loop of the tour: it checks every few seconds, prints what has changed, and explains incidents."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from triage import histograms, spikes
from triage.console import Console
from triage.endpoints import Endpoints
from triage.errors import EXIT_MISMATCH, StoreError, TriageError
from triage.ids import is_id
from triage.incidents import IncidentExplainer
from triage.models import Histogram, Interval, Scrape, Series, Window
from triage.stores import loki, prometheus
from triage.stores.client import HttpClient
from triage.timelimit import TimeLimitError, limit_time
from triage.tour import steps
from triage.tour.output import Output, SlowRequest
from triage.tour.steps import SERVICE, BrokenStepError, NoRequestsError, NotYetError, Step, StepChecker, Success

_PAUSE, _PAUSE_AT_START = 5.0, 1.0  # seconds between two checks
_START = 60.0  # seconds before a step that has never worked is called broken
_STARTING = 10.0  # seconds before a step is reported as still starting
_RESTART = 12.0  # seconds in which a broken step may just be restarting
_IDLE = 20.0  # seconds without requests before that is reported
_SPIKES_APART = 10.0  # seconds between two different spikes
_SPIKE_REPORTS_APART = 60.0  # seconds between two reports of spikes
_LOOK_BACK = 900.0  # seconds in which spikes are searched
_SCRAPE_INTERVAL = 5.0  # seconds
_SETTLED = 2.0  # seconds in which all lines of a request normally arrive
_MAX_TRIES = 8  # slow requests whose lines are queried
_MIN_STORED = 0.99
_STORED_RATIO = "job:log_lines_stored:ratio10m"
_SUMMED = Series("", "", "")  # of counters that Prometheus has summed

_ONCE_PAUSE = 2.5  # seconds between two checks of `--once`
_ONCE_TIMEOUT = 60.0  # seconds for a request and its lines to arrive
_ONCE_IDLE = 15.0  # seconds without requests
_ONCE_RESTART = 6.0  # seconds in which a broken step may just be starting

WORKING: Literal["working"] = "working"
NO_REQUESTS: Literal["no requests"] = "no requests"
State = Step | Literal["working", "no requests"]


class Outcome(NamedTuple):
    """The result of a check; `state` is None while it is not known."""

    state: State | None
    success: Success | None = None
    broken: BrokenStepError | None = None


def check(checker: StepChecker, now: float) -> Outcome:
    """Check all steps once."""
    try:
        return Outcome(WORKING, success=checker.check(now))
    except BrokenStepError as exc:
        return Outcome(exc.step, broken=exc)
    except NoRequestsError:
        return Outcome(NO_REQUESTS)
    except NotYetError:
        return Outcome(None)


def check_once(endpoints: Endpoints, console: Console) -> int:
    """Check until the result is certain; return 0 if every step works, or print the broken one and return 1.

    Raise `TriageError` if there are no requests.
    """
    output, checker, began = Output(console, endpoints), StepChecker(endpoints), time.time()
    state, since = None, began
    while True:
        now = time.time()
        outcome, waited = check(checker, now), now - began
        if outcome.success is not None:
            output.success(outcome.success, now, again=False)
            return 0
        if outcome.state != state:
            state, since = outcome.state, now
        if outcome.broken is not None and (now - since >= _ONCE_RESTART or waited > _ONCE_TIMEOUT):
            output.broken(outcome.broken, now)
            return EXIT_MISMATCH
        if waited > (_ONCE_IDLE if state == NO_REQUESTS else _ONCE_TIMEOUT):
            msg = f"There are no requests to follow: start a run at {endpoints.public_locust}"
            raise TriageError(msg)
        time.sleep(_ONCE_PAUSE)


def watch(endpoints: Endpoints, console: Console, healthy: Path | None) -> None:
    """Check until the process is stopped; touch the file `healthy` whenever no step is broken."""
    output = Output(console, endpoints)
    output.welcome()
    guide = Guide(endpoints, output, healthy, time.time())
    explainer = IncidentExplainer(endpoints.loki)
    while True:
        guide.check(time.time())
        for line in explainer.check(time.time()):
            output.explained(line.message, time.time())
        time.sleep(_PAUSE if guide.has_reported else _PAUSE_AT_START)


class Guide:
    """Report every change of state once, and spikes as they appear."""

    def __init__(self, endpoints: Endpoints, output: Output, healthy: Path | None, now: float) -> None:
        """Start at `now`; `healthy` is a file to touch after every check without a broken step."""
        self._endpoints, self._output, self._healthy = endpoints, output, healthy
        self._checker = StepChecker(endpoints)
        self._began = now
        self._reported: State | None = None
        self._current: tuple[State | None, float] = (None, now)
        self._spike_end, self._spike_reported_at = 0.0, 0.0
        self._lost: Mapping[str, float] = {}
        self._is_search_slow = False
        self._reported_as_starting: set[Step] = set()

    @property
    def has_reported(self) -> bool:
        """Whether a state has been reported, which ends the start-up."""
        return self._reported is not None

    def check(self, now: float) -> None:
        """Check all steps once, and print what has changed."""
        outcome = check(self._checker, now)
        if outcome.broken is None and self._healthy is not None:
            self._healthy.touch()
        if outcome.state is not None:
            if outcome.state != self._current[0]:
                self._current = (outcome.state, now)
            if outcome.state != self._reported and now - self._current[1] >= self._patience(outcome.state):
                self._report(outcome, now)
            elif outcome.broken is not None and not self.has_reported and now - self._began >= _STARTING:
                self._report_starting(outcome.broken, now)
        if outcome.state == WORKING:
            self._search(now)

    def _search(self, now: float) -> None:
        """Report spikes and lost lines, or once that the search takes too long."""
        try:
            with limit_time(steps.QUERY_LIMIT):
                self._report_spike(now)
                self._report_lost_lines(now)
        except TimeLimitError:
            if not self._is_search_slow:
                self._output.slow_search(steps.QUERY_LIMIT, now)
            self._is_search_slow = True
        except StoreError:
            return  # the next check finds the broken step
        else:
            self._is_search_slow = False

    def _patience(self, state: State) -> float:
        if state == WORKING:
            return 0.0
        if state == NO_REQUESTS:
            return _IDLE
        return _RESTART if self.has_reported else _START

    def _report(self, outcome: Outcome, now: float) -> None:
        if outcome.broken is not None:
            self._output.broken(outcome.broken, now)
        elif outcome.success is not None:
            self._output.success(outcome.success, now, again=self.has_reported)
        else:
            self._output.no_requests(now)
        self._reported = outcome.state

    def _report_starting(self, broken: BrokenStepError, now: float) -> None:
        if broken.step not in self._reported_as_starting:
            self._output.starting(broken, now)
            self._reported_as_starting.add(broken.step)

    def _report_spike(self, now: float) -> None:
        if now - self._spike_reported_at < _SPIKE_REPORTS_APART:
            return
        spike = last_spike(self._endpoints.prometheus, now)
        if spike is None:
            return
        if not self._spike_reported_at:
            found = find_slow_request(self._endpoints.prometheus, self._endpoints.loki, spike, now)
            if found is None:
                return
            self._output.spike(found, now)
            self._spike_reported_at = now
        elif spike.start > self._spike_end + _SPIKES_APART:
            self._output.another_spike(spike, now)
            self._spike_reported_at = now
        self._spike_end = max(spike.end, self._spike_end)

    def _report_lost_lines(self, now: float) -> None:
        ratios = prometheus.query(self._endpoints.prometheus, f"{_STORED_RATIO} < {_MIN_STORED}")
        lost = {labels.get("job", ""): ratio for labels, ratio in ratios}
        for job in lost.keys() - self._lost.keys():
            self._output.lost_lines(job, lost[job], now)
        self._lost = lost


def last_spike(client: HttpClient, now: float) -> spikes.Spike | None:
    """Return the last spike of the service within a quarter of an hour, by the rules of `triage explain`."""
    found = spikes.find_spikes(_intervals(client, Window(now - _LOOK_BACK, now)))
    return found[-1] if found else None


def _intervals(client: HttpClient, window: Window) -> list[Interval]:
    counts: dict[tuple[float, str], dict[float, float]] = {}
    selector = f'{prometheus.BUCKETS}{{job="{SERVICE}",le=~"{spikes.SLOW}|[+]Inf"}}'
    samples = prometheus.query_range(client, f"sum by (instance, le) ({selector})", window, _SCRAPE_INTERVAL)
    with client.parsing():
        for labels, values in samples:
            for at, count in values.items():
                counts.setdefault((at, labels["instance"]), {})[float(labels["le"])] = count
    scrapes = [Scrape(at, instance, {_SUMMED: Histogram(buckets)}) for (at, instance), buckets in counts.items()]
    return [histograms.interval(increase, spikes.SLOW) for increase in histograms.increases(scrapes)]


def find_slow_request(metrics: HttpClient, logs: HttpClient, spike: spikes.Spike, now: float) -> SlowRequest | None:
    """Return the slowest request of a spike that has lines, preferring one that involved more services."""
    exemplars = prometheus.query_exemplars(metrics, SERVICE, spike.window.expand(_SCRAPE_INTERVAL))
    slow = [
        each
        for each in exemplars
        if each.exemplar.value > spikes.SLOW and each.exemplar.at < now - _SETTLED and is_id(each.exemplar.trace_id)
    ]
    slowest = sorted(slow, key=lambda each: -each.exemplar.value)[:_MAX_TRIES]
    found = [
        SlowRequest(spike, exemplar, lines)
        for exemplar in slowest
        if (lines := loki.lines_of_request(logs, exemplar.exemplar))
    ]
    return max(found, key=lambda each: len({line.fields.get("service") for line in each.lines}), default=None)
