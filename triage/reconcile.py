"""Two equalities: what the load sent is what the service logged, and what the service counted is what it logged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from triage import counted
from triage.counted import Counted
from triage.gaps import Gap, gaps, processes
from triage.model import Finished, Run, Sent
from triage.stores import LoadStore, LogStore, MetricStore, StoreError


class Difference(NamedTuple):
    """What is not equal, in words, and the ids that it is about."""

    what: str
    ids: tuple[str, ...]


class Row(NamedTuple):
    """The requests of one method and route with one status."""

    method: str
    route: str
    status: str
    sent: int
    logged: int


class Compared(NamedTuple):
    """The first equality. `gave_up` and `never_arrived` are no mismatches, and `unknown` cannot be told.

    `status` of a row is what the load saw, or the service's where the client gave up.
    """

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    gave_up: tuple[str, ...]
    never_arrived: tuple[str, ...]
    unknown: tuple[str, ...]


class Reconciliation(NamedTuple):
    """Both equalities; one that could not be asked for is None."""

    service: str
    run: Run | None
    others: int
    sent: Compared | None
    counted: Counted | None
    gaps: tuple[Gap, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing that could be asked for differs."""
        halves = (self.sent, self.counted)
        return not any(half.differences for half in halves if half is not None)

    @property
    def missing(self) -> str:
        """What could not be asked for, and what to do."""
        what = [
            *(["what the load sent (lines request.sent)"] if self.sent is None else []),
            *(["what the service counted (lines metric.sample, or Prometheus)"] if self.counted is None else []),
        ]
        return f"Not everything could be compared: there is nothing of {' and '.join(what)}"

    @property
    def complete(self) -> bool:
        """Whether both could be asked for."""
        return self.sent is not None and self.counted is not None


def reconcile(
    logs: LogStore, metrics: MetricStore, load: LoadStore, service: str = "api", run: str | None = None
) -> Reconciliation:
    """Compare a run's requests, a service's lines and its counters; the last run, if none is named.

    `StoreError` if the run is not there.
    """
    runs = load.runs()
    chosen = next((each for each in reversed(runs) if run in {None, each.name}), None)
    if run is not None and chosen is None:
        known = ", ".join(each.name for each in runs) or "none"
        msg = f"There is no run {run} in what the load sent; the runs there are: {known}."
        raise StoreError(msg)
    finished = logs.finished(service)
    lives = logs.lives(service)
    scraped = processes(metrics.scrapes(service), lives)
    unknown = gaps(scraped, lives)
    sent = compare(load.sent(chosen.name), _of_run(finished, chosen.name), unknown) if chosen else None
    counters = counted.compare(scraped, finished) if scraped else None
    return Reconciliation(service, chosen, max(0, len(runs) - 1), sent, counters, tuple(unknown))


def _of_run(finished: Iterable[Finished], run: str) -> list[Finished]:
    return [each for each in finished if each.request_id.startswith(f"{run}-")]


def compare(sent: Sequence[Sent], finished: Sequence[Finished], gaps: Sequence[Gap]) -> Compared:
    """Hold what the load saw against what the service logged."""
    lines: dict[str, list[Finished]] = defaultdict(list)
    for line in finished:
        lines[line.request_id].append(line)
    verdicts: dict[str, list[str]] = defaultdict(list)
    asked: Counter[tuple[str, str, str]] = Counter()
    for each in sent:
        theirs = lines.get(each.request_id, [])
        verdicts[_verdict(each, theirs, gaps)].append(each.request_id)
        status = each.status or (theirs[0].status if theirs else "no answer")
        asked[each.method, each.route, status] += 1
    known = Counter(each.request_id for each in sent)
    verdicts["sent twice under one id"] = [name for name, times in known.items() if times > 1]
    verdicts["logged, but never sent"] = [name for name in lines if name not in known]
    logged = Counter((each.method, each.route, each.status) for each in finished)
    rows = tuple(Row(*key, asked[key], logged[key]) for key in sorted({*asked, *logged}))
    told = {name: tuple(verdicts.pop(name, ())) for name in ("", "gave up", "never arrived", "unknown")}
    differences = tuple(Difference(what, tuple(ids)) for what, ids in sorted(verdicts.items()) if ids)
    return Compared(rows, differences, told["gave up"], told["never arrived"], told["unknown"])


def _verdict(sent: Sent, lines: Sequence[Finished], gaps: Sequence[Gap]) -> str:
    """Return what is to be said of a request: nothing, or which of the kinds above, or how it differs."""
    if not lines:
        if any(gap.start <= sent.at + sent.client_ms / 1000 and sent.at <= gap.end for gap in gaps):
            return "unknown"
        return "never arrived" if sent.status is None else "sent and answered, but not logged"
    line = lines[0]
    if len(lines) > 1:
        return "logged more than once"
    if (sent.method, sent.route) != (line.method, line.route):
        return f"sent as {sent.method} {sent.route}, logged as {line.method} {line.route}"
    if sent.status in {None, line.status}:
        return "" if sent.status else "gave up"
    return f"answered with {sent.status}, logged as {line.status}"
