"""Checks of a run: that the report is right, and that metrics, log lines and Locust agree about every request."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from demo.artifacts import Artifacts, Line
from demo.report import Analysis, time_of
from demo.scrape import Exemplar, exemplars
from triage.explain import SLOW_MS
from triage.reconcile import Reconciliation, reconcile
from triage.stores.jsonl import JsonlStore

_SERVICES = ("api", "payments")
_DEMO_ROUTES = {"/faults", "/readyz"}  # requested by the demo itself
_MAX_SPIKE_DELAY = 2  # seconds
_MIN_BUCKETS = 3  # fast requests alone are in one or two
# How many slow requests that the fault did not affect can hide its effect: they may be a spike, too.
_MIN_SLOW_OTHERS, _SLOW_OTHERS_SHARE = 3, 0.1  # the share is of all slow requests
_MAX_SHOWN = 5  # problems of a check, and ids of a problem


class Check(NamedTuple):
    """A promise with its figures, and the problems that contradict it."""

    promise: str
    problems: Sequence[str]


def check(analysis: Analysis) -> list[Check]:
    """Return the checks of a run."""
    store = analysis.store
    found = {service: reconcile(store, store, store, service) for service in _SERVICES}
    faults = analysis.artifacts.faults
    checks = [_spike(analysis, faults[0]), _cause(analysis, faults[0])] if faults else []
    return [*checks, _exemplars(analysis.artifacts), _requests(store, found["api"]), _counters(found)]


def show(console: Console, checks: Sequence[Check]) -> bool:
    """Print the checks, and return whether all passed."""
    for promise, problems in checks:
        console.print(Text("FAILED ", style="bold red") if problems else Text("ok ", style="green"), end="")
        console.print(promise, soft_wrap=True)
        for problem in problems[:_MAX_SHOWN]:
            console.print(f"   {problem}", soft_wrap=True)
        if len(problems) > _MAX_SHOWN:
            console.print(f"   and {len(problems) - _MAX_SHOWN} more")
    return not any(problems for _, problems in checks)


def _spike(analysis: Analysis, fault: Line) -> Check:
    promise = f"the spike was found in the metrics alone, within {_MAX_SPIKE_DELAY} s of the fault"
    spike = analysis.explanation.spike
    if spike is None:
        return Check(
            promise, ["no spike was found: too few requests were slow, or too many before the fault", *_busy(analysis)]
        )
    off = abs(spike.start - time_of(fault))
    problems = [f"it starts {off:.1f} s from the fault", *_busy(analysis)] if off > _MAX_SPIKE_DELAY else []
    return Check(promise, problems)


def _busy(analysis: Analysis) -> list[str]:
    """Return a hint if so many requests were slow that the fault did not affect that they hide its effect."""
    finished = analysis.artifacts.finished.items()
    api = [line for (service, *_), lines in finished if service == "api" for line in lines]
    others = [line for line in api if "fault_active" not in line]
    slow, slow_others = (sum(line["duration_ms"] > SLOW_MS for line in lines) for lines in (api, others))
    if slow_others < max(_MIN_SLOW_OTHERS, _SLOW_OTHERS_SHARE * slow):
        return []
    what = f"{slow_others} of {len(others)} requests that the fault did not affect took longer than {SLOW_MS:g} ms"
    return [f"this machine was too busy: {what}; try again"]


def _cause(analysis: Analysis, fault: Line) -> Check:
    explanation, example = analysis.explanation, analysis.example
    promise = f"the cause was found in the log lines alone: {fault['fault']}"
    if not explanation.causes or example is None:
        return Check(promise, ["no field separates the slow requests from the fast ones", *_busy(analysis)])
    cause, part = explanation.causes[0], explanation.parts[0].name if explanation.parts else "unknown"
    problems = []
    if cause.field != "user_id":
        problems.append(f"the field that separates the slow requests best is {cause.field}, not user_id")
    else:
        found, affected = {value.json for value in cause.values}, set(map(str, fault["fault_users"]))
        right, wrong = len(found & affected), len(found - affected)
        others = f" and {wrong} other{'s' if wrong > 1 else ''}" if wrong else ""
        users = f"{right} of its {len(affected)} users{others}"
        promise = f"{promise}, for {users}"
        # A few other users may have been slow by chance.
        if right < len(affected) / 2 or wrong > right / 4:
            problems.append(f"the users that were found are {users}")
    if part != "db_ms":
        problems.append(f"most of the time of the slow requests is {part}, not db_ms")
    if example.get("fault_active") != fault["fault"]:
        problems.append(f"the fault did not affect the request whose log lines are shown, {example['trace_id']}")
    return Check(promise, [*problems, *_busy(analysis)] if problems else ())


def _exemplars(artifacts: Artifacts) -> Check:
    found = exemplars(artifacts.samples)
    buckets = len({each.up_to for each in found})
    promise = (
        f"{len(found)} exemplars in {buckets} buckets: each leads to one log line, with its duration to the microsecond"
    )
    return Check(promise, list(_exemplar_problems(artifacts, found, buckets)))


def _exemplar_problems(artifacts: Artifacts, found: Sequence[Exemplar], buckets: int) -> Iterator[str]:
    if buckets < _MIN_BUCKETS:
        yield f"exemplars are in only {buckets} buckets"
    lines = {each: artifacts.finished.get((each.service, each.trace_id, each.span_id), []) for each in found}
    if artifacts.faults and not any(line.get("fault_active") for each in lines.values() for line in each):
        yield "no exemplar is a request that the fault affected"
    for exemplar in found:
        for problem in _compare(exemplar, lines[exemplar]):
            yield f"exemplar {exemplar.trace_id}/{exemplar.span_id}: {problem}"
    for (service, span_id), trace_ids in artifacts.trace_ids.items():
        if len(trace_ids) > 1:
            yield f"span {span_id} of {service} has several trace ids: {', '.join(sorted(trace_ids))}"


def _compare(exemplar: Exemplar, lines: Sequence[Line]) -> Iterator[str]:
    if len(lines) != 1:
        yield f"{len(lines)} request.finished lines of {exemplar.service}"
        return
    line = lines[0]
    for name in ("method", "route", "status"):
        value = getattr(exemplar, name)
        if str(line[name]) != value:
            yield f"{name} is {value} in the metric, {line[name]} in the log line"
    if line["duration_ms"] != round(exemplar.value * 1000, 3):
        yield f"the duration is {exemplar.value} s in the metric, {line['duration_ms']} ms in the log line"
    if not exemplar.above < exemplar.value <= exemplar.up_to:
        yield f"{exemplar.value} s is outside of its bucket, from {exemplar.above} to {exemplar.up_to} s"


def _requests(store: JsonlStore, found: Reconciliation) -> Check:
    number = found.run.requests if found.run else 0
    promise = f"{number} requests were sent: each has one log line, with the ids, route and status that Locust saw"
    return Check(promise, list(_request_problems(store, found)))


def _request_problems(store: JsonlStore, found: Reconciliation) -> Iterator[str]:
    if found.run is None or found.sent is None:
        yield "Locust recorded no requests"
        return
    differences = [
        *found.sent.differences,
        ("not logged", found.sent.never_arrived),
        ("sent without an answer", found.sent.gave_up),
        ("not logged, perhaps because the service was restarted", found.sent.unknown),
    ]
    for what, ids in differences:
        if ids:
            yield f"{what}: {_shorten(ids)}"
    # Reconciliation matches by request id; also check that its trace id belongs to it, and who else sent requests.
    trace_ids = {each.request_id: each.trace_id for each in store.sent(found.run.name)}
    for line in store.finished(found.service):
        expected = trace_ids.get(line.request_id, line.trace_id)
        if line.trace_id != expected:
            yield f"{line.request_id} was sent with trace id {expected}, and logged with {line.trace_id}"
        if not line.request_id.startswith(f"{found.run.name}-") and line.route not in _DEMO_ROUTES:
            request_id = line.request_id or "without one"
            yield f"a request with trace id {line.trace_id} (request id: {request_id}) was not sent by Locust"


def _counters(found: dict[str, Reconciliation]) -> Check:
    requests = sum(row.counted for each in found.values() if each.counted for row in each.counted.rows)
    promise = f"{requests} requests were counted by {' and '.join(found)}: each route and status has as many log lines"
    return Check(promise, list(_counter_problems(found)))


def _counter_problems(found: dict[str, Reconciliation]) -> Iterator[str]:
    for service, each in found.items():
        if each.counted is None:
            yield f"{service} was never scraped"
            continue
        for instance in each.counted.unscraped:
            yield f"{instance} was never scraped"
        for _, row, *_, ids in each.counted.differences:
            counts = f"{row.counted} requests in the metric, {row.logged} log lines"
            yield f"{service} {row.route} {row.status}: {counts}: {_shorten(ids)}"


def _shorten(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MAX_SHOWN} more" if len(ids) > _MAX_SHOWN else ""
    return ", ".join(ids[:_MAX_SHOWN]) + more
