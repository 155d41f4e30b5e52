"""`triage reconcile`: compare the requests that were sent, logged and counted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from triage.console import Console, Piece
from triage.counters import CounterComparison, Gap, compare_counters, find_gaps, find_processes
from triage.errors import StoreError
from triage.models import FinishedRequest, Run, SentRequest
from triage.stores import LoadStore, LogStore, MetricStore
from triage.timestamps import clock, rfc3339

_MAX_IDS = 5

_GAVE_UP, _NEVER_ARRIVED, _UNKNOWN = "gave up", "never arrived", "unknown"  # not differences


class Difference(NamedTuple):
    """A kind of difference and the ids of the requests with it."""

    what: str
    ids: tuple[str, ...]


class Row(NamedTuple):
    """The requests of a method, route and status.

    `status` is the one that the client received or, if it gave up, the one that the service logged.
    """

    method: str
    route: str
    status: str
    sent: int
    logged: int


class SentComparison(NamedTuple):
    """Sent against logged requests, with the request ids of those that are not compared.

    The client `gave_up` on a logged request; a request without response and line `never_arrived`; `unknown` ones have
    no line because a process was killed.
    """

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    gave_up: tuple[str, ...]
    never_arrived: tuple[str, ...]
    unknown: tuple[str, ...]


class Reconciliation(NamedTuple):
    """Both comparisons; one without data is None."""

    service: str
    run: Run | None
    others: int
    sent: SentComparison | None
    counted: CounterComparison | None
    gaps: tuple[Gap, ...]

    @property
    def equal(self) -> bool:
        """Whether the comparisons found no difference."""
        return not any(each.differences for each in (self.sent, self.counted) if each is not None)

    @property
    def complete(self) -> bool:
        """Whether both comparisons were possible."""
        return self.sent is not None and self.counted is not None

    @property
    def missing(self) -> str:
        """Which data are missing."""
        missing = [
            *(["sent requests (request.sent lines)"] if self.sent is None else []),
            *(["counters (metric.sample lines or Prometheus)"] if self.counted is None else []),
        ]
        return f"The comparison is incomplete: there are no {' and no '.join(missing)}"


def reconcile(
    logs: LogStore, metrics: MetricStore, load: LoadStore, service: str = "api", run: str | None = None
) -> Reconciliation:
    """Compare the requests of a run (by default the last one) with the lines and counters of a service.

    Raise `StoreError` if there is no such run, or if lines and metrics have other names for the instances.
    """
    runs = load.runs()
    chosen = next((each for each in reversed(runs) if run in {None, each.name}), None)
    if run is not None and chosen is None:
        names = ", ".join(each.name for each in runs) or "none"
        msg = f"There is no run {run}; the runs are: {names}."
        raise StoreError(msg)
    finished, events = logs.finished(service), logs.process_events(service)
    processes = find_processes(metrics.scrapes(service), events)
    gaps = find_gaps(processes, events)
    sent = None
    if chosen is not None:
        of_run = [each for each in finished if each.request_id.startswith(f"{chosen.name}-")]
        sent = _compare_sent(load.sent(chosen.name), of_run, gaps)
    counted = compare_counters(processes, finished) if processes else None
    if counted is not None:
        _require_same_names(counted, {each.instance for each in finished}, {each.instance for each in processes})
    return Reconciliation(service, chosen, max(0, len(runs) - 1), sent, counted, tuple(gaps))


def _require_same_names(counted: CounterComparison, logged: AbstractSet[str], scraped: AbstractSet[str]) -> None:
    """Raise `StoreError` if no instance with lines has metrics: the comparison would find every request to differ."""
    if logged and not logged & scraped and any(row.counted for row in counted.rows):
        lines, metrics = (", ".join(map(repr, sorted(names)[:_MAX_IDS])) for names in (logged, scraped))
        msg = (
            f"The instances have other names in the log lines ({lines}) than in the metrics ({metrics}), so they "
            "cannot be compared: use the address that Prometheus scrapes in configure_logging(service, instance)"
        )
        raise StoreError(msg)


def _compare_sent(
    sent: Sequence[SentRequest], finished: Iterable[FinishedRequest], gaps: Sequence[Gap]
) -> SentComparison:
    lines: dict[str, list[FinishedRequest]] = defaultdict(list)
    for line in finished:
        lines[line.request_id].append(line)
    by_kind: dict[str, list[str]] = defaultdict(list)
    sent_counts: Counter[tuple[str, str, str]] = Counter()
    for each in sent:
        its_lines = lines.get(each.request_id, [])
        if kind := _compare_request(each, its_lines, gaps):
            by_kind[kind].append(each.request_id)
        status = each.status or (its_lines[0].status if its_lines else "no answer")
        sent_counts[each.method, each.route, status] += 1
    ids = Counter(each.request_id for each in sent)
    by_kind["sent twice with the same id"] = [each for each, number in ids.items() if number > 1]
    by_kind["logged, but never sent"] = [each for each in lines if each not in ids]
    logged_counts = Counter((each.method, each.route, each.status) for of_id in lines.values() for each in of_id)
    rows = tuple(Row(*key, sent_counts[key], logged_counts[key]) for key in sorted({*sent_counts, *logged_counts}))
    gave_up, never_arrived, unknown = (tuple(by_kind.pop(kind, ())) for kind in (_GAVE_UP, _NEVER_ARRIVED, _UNKNOWN))
    differences = tuple(Difference(kind, tuple(ids)) for kind, ids in sorted(by_kind.items()) if ids)
    return SentComparison(rows, differences, gave_up, never_arrived, unknown)


def _compare_request(sent: SentRequest, lines: Sequence[FinishedRequest], gaps: Sequence[Gap]) -> str:
    """Return the kind of difference, one of the kinds that are not differences, or nothing."""
    if not lines:
        if any(gap.start <= sent.at + sent.client_ms / 1000 and sent.at <= gap.end for gap in gaps):
            return _UNKNOWN
        return _NEVER_ARRIVED if sent.status is None else "sent and answered, but not logged"
    line = lines[0]
    if len(lines) > 1:
        return "logged more than once"
    if (sent.method, sent.route) != (line.method, line.route):
        return f"sent as {sent.method} {sent.route}, logged as {line.method} {line.route}"
    if sent.status is None:
        return _GAVE_UP
    return "" if sent.status == line.status else f"answered with {sent.status}, logged as {line.status}"


def show(result: Reconciliation, console: Console) -> None:
    """Print both comparisons."""
    _show_sent(result, console)
    console.line()
    _show_counted(result, console)
    for gap in result.gaps:
        console.line()
        title, rest = describe_gap(gap)
        console.line((title, "bold yellow"), rest)


def describe_gap(gap: Gap) -> tuple[str, str]:
    """Return a sentence about a gap in two parts."""
    between = f"Unknown between {rfc3339(gap.start)} and {rfc3339(gap.end)}"
    return between, f": {gap.instance} was killed, and its last lines may be lost."


def _show_sent(result: Reconciliation, console: Console) -> None:
    compared = result.sent
    if compared is None or result.run is None:
        console.line(("There are no sent requests", "bold yellow"), " (request.sent lines) to compare.")
        return
    others = f" (the last of {result.others + 1})" if result.others else ""
    console.line((f"Sent in run {result.run.name}{others} = logged by {result.service}", "bold"))
    rows: list[Sequence[Piece]] = []
    for method, route, status, sent, logged in compared.rows:
        rows.append((method, route, status, f"{sent:,}", (f"{logged:,}", "" if sent == logged else "yellow")))
    console.table(rows, header=("", "", "", "sent", "logged"), right=(3, 4))
    _show_equal(console, equal=not compared.differences)
    for difference in compared.differences:
        console.line("  ", (difference.what, "red"), f": {_ids(difference.ids)}")
    notes = {
        "no response, but logged (not a difference)": compared.gave_up,
        "no response and not logged: never arrived (not a difference)": compared.never_arrived,
        "unknown, because a process was killed": compared.unknown,
    }
    for note, ids in notes.items():
        if ids:
            console.line(f"  {note}: {_ids(ids)}")


def _show_counted(result: Reconciliation, console: Console) -> None:
    counted = result.counted
    if counted is None:
        console.line(("There are no counters", "bold yellow"), f" of {result.service} (samples) to compare.")
        return
    console.line((f"Counted by {result.service} = logged by {result.service}", "bold"))
    rows = []
    for route, status, number, logged, edge in counted.rows:
        rows.append((route, status, f"{number:,}", f"{logged:,} to {logged + edge:,}" if edge else f"{logged:,}"))
    console.table(rows, header=("", "", "counted", "logged"), right=(2, 3))
    _show_equal(console, equal=not counted.differences)
    for each in counted.differences:
        what = f"{each.row.route} {each.row.status}: {each.row.counted:,} counted, {each.row.logged:,} logged"
        since = f" by {each.instance} between {clock(each.start)} and {clock(each.end)}: {_ids(each.ids)}"
        console.line("  ", (what, "red"), since)
    if counted.uncounted:
        console.line(f"  {counted.uncounted:,} more lines were logged while the service was not scraped.")
    if counted.unscraped:
        console.line(f"  Never scraped: {', '.join(counted.unscraped)}.")


def _show_equal(console: Console, *, equal: bool) -> None:
    console.line("  ", ("equal", "green") if equal else ("not equal", "bold red"))


def _ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MAX_IDS} more" if len(ids) > _MAX_IDS else ""
    return f"{len(ids)} ({', '.join(ids[:_MAX_IDS])}{more})"


def as_json(result: Reconciliation) -> Mapping[str, object]:
    """Return the JSON output."""
    return {
        "service": result.service,
        "run": result.run and result.run.name,
        "equal": result.equal,
        "complete": result.complete,
        "sent": result.sent
        and {
            **result.sent._asdict(),
            "rows": [row._asdict() for row in result.sent.rows],
            "differences": [each._asdict() for each in result.sent.differences],
        },
        "counted": result.counted
        and {
            **result.counted._asdict(),
            "rows": [row._asdict() for row in result.counted.rows],
            "differences": [{**each._asdict(), "row": each.row._asdict()} for each in result.counted.differences],
        },
        "unknown": gaps_as_json(result.gaps),
    }


def gaps_as_json(gaps: Iterable[Gap]) -> list[Mapping[str, object]]:
    """Return the JSON of gaps."""
    return [{"instance": gap.instance, "from": rfc3339(gap.start), "to": rfc3339(gap.end)} for gap in gaps]
