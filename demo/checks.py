"""Whether the walk can be trusted: what it rests on, checked with the files of one run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from demo import exemplars
from demo.evidence import Evidence, read
from triage.console import Console
from triage.reconcile import Reconciliation, reconcile
from triage.spikes import Spike, find_spike
from triage.stores.jsonl import JsonlStore
from triage.timestamps import parse

_SERVICES = ("api", "payments")
_OURS = {"/faults", "/readyz"}  # what the demo asks itself
_LATE = 2  # seconds
_SHOWN = 5  # of what is wrong with one check, and of its ids


class Check(NamedTuple):
    """One promise with its figures, and what contradicts it."""

    promise: str
    wrong: Sequence[str]


def check(folder: Path) -> list[Check]:
    """Return the checks of the run in `folder`; `DemoError` if there is none."""
    evidence, store = read(folder), JsonlStore([folder])
    found = {service: reconcile(store, store, store, service) for service in _SERVICES}
    spike = find_spike(store.scrapes("api"))
    return [_spike(evidence, spike), _dots(evidence), _ids(store, found["api"]), _counters(found)]


def tell(screen: Console, folder: Path) -> bool:
    """Print the checks, and return whether all hold."""
    checks = check(folder)
    for promise, wrong in checks:
        screen.line(("no ", "bold red") if wrong else ("ok ", "green"), promise)
        for trouble in wrong[:_SHOWN]:
            screen.line(f"   {trouble}")
        if len(wrong) > _SHOWN:
            screen.line(f"   and {len(wrong) - _SHOWN} more")
    return not any(wrong for _, wrong in checks)


def _spike(evidence: Evidence, spike: Spike | None) -> Check:
    if not evidence.faults:
        return Check("nobody started a fault, so there is no spike to be found", ())
    promise = f"the spike was found in the metrics alone, within {_LATE} s of the fault"
    if spike is None:
        return Check(promise, ["it was not found: too few requests were slow, or too many others"])
    off = abs(spike.start - parse(evidence.faults[0]["timestamp"]))
    return Check(promise, [f"its start is {off:.1f} s off"] if off > _LATE else ())


def _dots(evidence: Evidence) -> Check:
    dots = exemplars.exemplars(evidence.samples)
    buckets = len({dot.upto for dot in dots})
    return Check(
        f"{len(dots)} exemplars in {buckets} buckets: each leads to one line, with its duration to the microsecond",
        list(exemplars.wrong(evidence, dots)),
    )


def _ids(store: JsonlStore, found: Reconciliation) -> Check:
    number = found.run.requests if found.run else 0
    promise = f"{number} requests were sent: each has one line, with the ids, route and status that the load saw"
    return Check(promise, list(_ids_wrong(store, found)))


def _ids_wrong(store: JsonlStore, found: Reconciliation) -> Iterator[str]:
    if found.run is None or found.sent is None:
        yield "the load recorded nothing"
        return
    for what, ids in found.sent.differences:
        yield f"{what}: {_some(ids)}"
    beside = found.sent.never_arrived, found.sent.gave_up, found.sent.unknown
    for what, ids in zip(("not logged", "no answer came", "nobody knows"), beside, strict=True):
        if ids:
            yield f"{what}: {_some(ids)}"
    # What triage does not ask: whether both ids of a request belong together, and who else asked.
    sent = {each.request_id: each.trace_id for each in store.sent(found.run.name)}
    for line in store.finished(found.service):
        if line.request_id in sent and line.trace_id != sent[line.request_id]:
            yield f"{line.request_id} was sent as {sent[line.request_id]}, and logged as {line.trace_id}"
        if not line.request_id.startswith(f"{found.run.name}-") and line.route not in _OURS:
            yield f"nobody sent {line.request_id or 'a request without an id'} ({line.trace_id})"


def _counters(found: dict[str, Reconciliation]) -> Check:
    counted = sum(row.counted for each in found.values() if each.counted for row in each.counted.rows)
    promise = f"{counted} requests were counted by {' and '.join(found)}: each route and status has as many lines"
    return Check(promise, list(_counters_wrong(found)))


def _counters_wrong(found: dict[str, Reconciliation]) -> Iterator[str]:
    for service, each in found.items():
        if each.counted is None:
            yield f"{service} was never scraped"
            continue
        for instance in each.counted.unscraped:
            yield f"{instance} was never scraped"
        for _, row, *_, ids in each.counted.differences:
            what = f"{service} counted {row.counted} times {row.route} {row.status}, and wrote {row.logged} lines"
            yield f"{what}: {_some(ids)}"


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more
