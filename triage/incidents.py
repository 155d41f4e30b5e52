"""Find incidents in Loki's lines, and write what their slow and failed requests have in common, one line for each."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage.console import escape
from triage.discriminators import Discriminator
from triage.errors import StoreError
from triage.explain import EXCLUDED, SLOW_MS, Explanation, decode, explain_counts
from triage.field_counts import count_fields
from triage.ids import is_id
from triage.models import FieldValue, Interval, LogLine, Window
from triage.spikes import find_spikes
from triage.stores.client import HttpClient
from triage.stores.loki import NewLine, count_lines, push_lines, query_lines, sample_lines
from triage.stores.prometheus import quote
from triage.timelimit import TimeLimitError, limit_time

EVENT = "incident.explained"
SERVICE = "tour"

_LOOK_BACK = 900  # seconds
_STEP = 2  # seconds; the resolution of an incident's times
_SETTLED = 3.0  # seconds in which lines arrive in Loki
_OVER = 15.0  # seconds without a raised share of slow and failed requests that end an incident
_MAX_LENGTH = 300.0  # seconds; a longer incident is explained in parts
_MIN_RAISE = 2.0  # times the usual share of slow and failed requests
_MIN_SLOW = 5  # slow and failed requests
_MIN_UNEXPLAINED = 10  # the same, if nothing explains them: a short pause of the machine is no incident
_PAUSE = 10.0  # seconds between two checks
_TIME_LIMIT = 10.0  # seconds of a check, so that the tour still checks its steps often enough to be healthy
_LOAD = 20  # times as long as a check took until the next one, so that checks never need more than 5 % of Loki
_MAX_SLOW, _MAX_FAST = 2_000, 5_000  # lines that are compared

_FAST = "info"
_SLOW = "warning|error|critical"
_FINISHED = "|= `request.finished`"

_MAX_VALUES = 8
_MAX_TEXT = 60  # characters of a value
_PUNCTUATION = " _.-,:/{}()@+*="


class Incident(NamedTuple):
    """A time range in which clearly more requests of a service than usual were slow or failed."""

    service: str
    start: float
    end: float
    slow: int
    requests: int

    @property
    def window(self) -> Window:
        """The time range."""
        return Window(self.start, self.end)


class IncidentExplainer:
    """Check Loki for incidents that are over, and push one line for each."""

    def __init__(self, loki: HttpClient) -> None:
        """Query `loki`, and push lines to it."""
        self._loki = loki
        self._next = 0.0
        self._done: dict[str, float] = {}  # by service, until when incidents are explained

    def check(self, now: float) -> Sequence[NewLine]:
        """Explain the incidents that ended since the last check; return the lines that were pushed.

        If Loki does not respond, or takes too long, the next check tries again.
        """
        if now < self._next:
            return ()
        began = time.monotonic()
        pushed: list[NewLine] = []
        try:
            with limit_time(_TIME_LIMIT):
                for incident in self._new_incidents(now):
                    line = explain_incident(self._loki, incident)
                    if line is not None:
                        push_lines(self._loki, SERVICE, "-", [line])
                        pushed.append(line)
                    self._done[_text(incident.service)] = incident.end
        except (StoreError, TimeLimitError):
            pass  # the steps of the tour report it
        self._next = now + max(_PAUSE, _LOAD * (time.monotonic() - began))
        return pushed

    def _new_incidents(self, now: float) -> Iterator[Incident]:
        end = (now - _SETTLED) // _STEP * _STEP
        window = Window(end - _LOOK_BACK, end)
        slow: dict[str, dict[tuple[str, float], int]] = {}
        expr = f'{{service_name=~".+", level=~"{_SLOW}"}} {_FINISHED}'
        for (service, instance), counts in self._count(expr, ("service_name", "instance"), window):
            slow.setdefault(service, {}).update({(instance, at): number for at, number in counts.items()})
        if slow:
            self._read_explained(window)
        for service, of_service in slow.items():
            done = self._done.get(_text(service), 0.0)
            if sum(number for (_, at), number in of_service.items() if at > done) >= _MIN_SLOW:
                yield from find_incidents(service, self._intervals(service, of_service, window), done, end)

    def _read_explained(self, window: Window) -> None:
        """Read until when incidents are explained: this process may have been restarted."""
        expr = f"{{service_name={quote(SERVICE)}}} |= {quote(EVENT)}"
        for line in query_lines(self._loki, expr, window.expand(_STEP)):
            service, to = line.fields.get("explained_service"), line.fields.get("to")
            if line.fields.get("event") == EVENT and isinstance(service, str) and isinstance(to, int):
                self._done[service] = max(self._done.get(service, 0.0), to / 1000)

    def _intervals(self, service: str, slow: Mapping[tuple[str, float], int], window: Window) -> Sequence[Interval]:
        expr = f'{{service_name={quote(service)}, level=~"{_FAST}|{_SLOW}"}} {_FINISHED}'
        return [
            Interval(at - _STEP, at, instance, number, min(number, slow.get((instance, at), 0)))
            for (instance,), counts in self._count(expr, ("instance",), window)
            for at, number in counts.items()
        ]

    def _count(
        self, expr: str, labels: Sequence[str], window: Window
    ) -> Iterable[tuple[tuple[str, ...], Mapping[float, int]]]:
        return count_lines(self._loki, expr, labels, window, _STEP).items()


def find_incidents(service: str, intervals: Iterable[Interval], done: float, now: float) -> Iterator[Incident]:
    """Yield the incidents after `done` that are over at `now`, and the parts of those that last long, in order."""
    intervals = list(intervals)
    spikes = find_spikes(intervals)
    others = [each for each in intervals if not any(spike.start < each.end <= spike.end for spike in spikes)]
    usual = sum(each.slow for each in others) / max(1.0, sum(each.requests for each in others))
    for spike in spikes:
        end = spike.end
        over = now - end >= _OVER
        if spike.slow < _MIN_RAISE * usual * spike.requests:
            continue
        while (start := max(spike.start, done)) < end and (over or now - start >= _MAX_LENGTH):
            done = min(end, start + _MAX_LENGTH)
            within = [each for each in intervals if start < each.end <= done]
            slow = round(sum(each.slow for each in within))
            if slow >= _MIN_SLOW:
                yield Incident(service, start, done, slow, round(sum(each.requests for each in within)))


def explain_incident(loki: HttpClient, incident: Incident) -> NewLine | None:
    """Return the line that explains an incident, or None if it is too small."""
    service, window = incident.service, incident.window
    arrived = window.start

    def read_slow() -> Iterator[LogLine]:
        nonlocal arrived
        expr = f'{{service_name={quote(service)}, level=~"{_SLOW}"}} {_FINISHED}'
        for line in sample_lines(loki, expr, window, incident.slow, _MAX_SLOW):
            duration = line.fields.get("duration_ms")
            if isinstance(duration, int | float) and 0 <= duration <= _LOOK_BACK * 1000:
                arrived = min(arrived, line.at - duration / 1000)
            yield line

    expr = f'{{service_name={quote(service)}, level="{_FAST}"}} {_FINISHED}'
    fast = sample_lines(loki, expr, window, incident.requests - incident.slow, _MAX_FAST)
    counts = count_fields(read_slow(), fast, EXCLUDED)
    found = explain_counts(counts, service, window, SLOW_MS, "given")
    if found.slow < (_MIN_SLOW if found.causes else _MIN_UNEXPLAINED):
        return None
    return as_line(incident._replace(start=arrived), found)


def as_line(incident: Incident, found: Explanation) -> NewLine:
    """Return the line of an explanation; its texts are harmless in LogQL, in HTML and in a terminal."""
    cause = found.causes[0] if found.causes else None
    part = found.parts[0] if found.parts else None
    share = None if part is None else round(min(part.share, 1.0), 2)
    ids = [str(line.fields.get("trace_id")) for line in found.examples]
    fields = {
        "event": EVENT,
        "explained_service": _text(incident.service),
        "from": round(incident.start * 1000),
        "to": round(incident.end * 1000),
        "slow": incident.slow,
        "requests": incident.requests,
        "field": _text(cause.field) if cause else "-",
        "values": _values(cause.values) if cause else "-",
        "slow_with": f"{cause.slow} of {found.slow}" if cause else "-",
        "fast_with": f"{cause.fast} of {found.fast}" if cause else "-",
        "strength": round(cause.strength, 2) if cause else None,
        "part": _text(part.name) if part else "-",
        "part_share": share,
        "trace_ids": [each for each in ids if is_id(each)],
    }
    message = [
        f"{incident.slow:,} of {incident.requests:,} requests of {fields['explained_service']} were slow or failed.",
        _cause(cause, found, sampled=found.slow + found.fast < incident.requests),
    ]
    if part is not None:
        message.append(f"The largest part of their additional time is {fields['part']} ({share:.0%}).")
    return NewLine(incident.end, "info", " ".join(message), "-", fields)


def _cause(cause: Discriminator | None, found: Explanation, *, sampled: bool) -> str:
    if cause is None:
        return (
            "Nothing explains it: no field separates them from the others." if found.fast else "There were no others."
        )
    condition = "=" if len(cause.values) == 1 else "in"
    others = f"{found.fast:,} {'others in a sample' if sampled else 'others'}"
    return (
        f"{_text(cause.field)} {condition} {_values(cause.values)}: {cause.slow:,} of {found.slow:,} of them, "
        f"{cause.fast:,} of {others}."
    )


def _values(values: Sequence[FieldValue]) -> str:
    """Return the values in a readable order: numbers by size, others by the number of slow requests."""
    if all(type(decode(value)) in {int, float} for value in values):
        values = sorted(values, key=lambda value: float(value.json or 0))
    texts = [_text(_plain(value)) for value in values]
    if len(texts) > _MAX_VALUES:
        texts = [*texts[: _MAX_VALUES - 1], f"... and {len(texts) - _MAX_VALUES + 1} more"]
    return ", ".join(texts)


def _plain(value: FieldValue) -> str:
    """Return a string without quotes, and anything else as JSON."""
    decoded = decode(value)
    return decoded if isinstance(decoded, str) else "(absent)" if value.json is None else value.json


def _text(text: str) -> str:
    """Return a text in which letters, digits and some punctuation are unchanged, and all else is escaped."""
    cut = f"{text[:_MAX_TEXT]}..." if len(text) > _MAX_TEXT else text
    return "".join(
        each if each.isprintable() and (each.isalnum() or each in _PUNCTUATION) else escape(each) for each in cut
    )
