"""`triage explain`: what the slow requests of a window have in common that the fast ones do not."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from triage.console import Console
from triage.discriminators import Discriminator, find_discriminators, varies
from triage.models import FieldCounts, FieldValue, LogLine, Window
from triage.spikes import SLOW, Spike, find_spike, largest
from triage.stores import LogStore, MetricStore
from triage.timestamps import rfc3339

#: The latency objective in milliseconds.
SLOW_MS = SLOW * 1000

#: Fields that are not compared: durations are what is explained, `fault*` would reveal the cause, and only slow and
#: failed requests have a `payload`.
EXCLUDED = ("*_ms", "fault*", "payload", "timestamp")
_EFFECTS = ("status", "outcome", "level", "truncated", "*_calls", "error*")
_LAG = "loop_lag_ms"
_MAX_EXAMPLES = 3
_MAX_VALUES = 12
_BAR_WIDTH = 30  # characters


class Part(NamedTuple):
    """A part of the latency: its mean in slow and fast requests, and its `share` of the difference of the means."""

    name: str
    slow_ms: float
    fast_ms: float
    share: float


class Explanation(NamedTuple):
    """What distinguishes the slow requests of a window from the fast ones.

    `window` is None if none was given and there was no spike; the other fields are then empty. `causes` are fields
    that were set before the request became slow, `effects` follow from it. `looked_at` are all possible causes.
    """

    service: str
    slow_ms: float
    window: Window | None
    found_by: str
    spike: Spike | None = None
    slow: int = 0
    fast: int = 0
    causes: tuple[Discriminator, ...] = ()
    effects: tuple[Discriminator, ...] = ()
    looked_at: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    examples: tuple[LogLine, ...] = ()


def explain(
    logs: LogStore,
    metrics: MetricStore | None,
    service: str = "api",
    window: Window | None = None,
    slow_ms: float = SLOW_MS,
) -> Explanation:
    """Explain the slow requests of a window or, if none is given, of the largest spike."""
    spike, found_by = None, "given"
    if window is None:
        spike, found_by = _find_spike(logs, metrics, service, slow_ms)
        if spike is None:
            return Explanation(service, slow_ms, None, found_by)
        window = spike.window
    counts = logs.count_fields(service, window, slow_ms, EXCLUDED)
    return explain_counts(counts, service, window, slow_ms, found_by, spike)


def explain_counts(  # noqa: PLR0913, PLR0917 - what is known about the window
    counts: FieldCounts, service: str, window: Window, slow_ms: float, found_by: str, spike: Spike | None = None
) -> Explanation:
    """Explain the slow requests of a window from the counts of their fields, which are without `EXCLUDED`."""
    effects = [field for field in counts.fields if _is_effect(field.name)]
    candidates = [field for field in counts.fields if not _is_effect(field.name)]
    causes = tuple(find_discriminators(candidates, counts.counts))
    return Explanation(
        service,
        slow_ms,
        window,
        found_by,
        spike,
        slow=sum(counts.counts.slow),
        fast=sum(counts.counts.fast),
        causes=causes,
        effects=tuple(find_discriminators(effects, counts.counts)),
        looked_at=tuple(field.name for field in candidates if varies(field, counts.counts)),
        parts=_parts(counts),
        examples=_examples(counts, causes),
    )


def _find_spike(logs: LogStore, metrics: MetricStore | None, service: str, slow_ms: float) -> tuple[Spike | None, str]:
    scrapes = metrics.scrapes(service) if metrics else ()
    if scrapes:
        return find_spike(scrapes, slow_ms / 1000), "metrics"
    return largest(logs.rates(service, slow_ms)), "lines"


def _is_effect(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _EFFECTS)


def _parts(counts: FieldCounts) -> tuple[Part, ...]:
    """Divide the difference of the mean durations among the timers."""
    slow, fast = sum(counts.counts.slow), sum(counts.counts.fast)
    means = {name: (of_slow / max(1, slow), of_fast / max(1, fast)) for name, (of_slow, of_fast) in counts.sums.items()}
    all_slow, all_fast = means.get("duration_ms", (0.0, 0.0))
    if not slow or not fast or all_slow <= all_fast:
        return ()
    timers = time_fields(dict.fromkeys((*means, *(field.name for field in counts.fields))))
    known = {name: means[name] for name in timers if name in means}
    rest = all_slow - sum(each[0] for each in known.values()), all_fast - sum(each[1] for each in known.values())
    parts = [Part(name, *mean, (mean[0] - mean[1]) / (all_slow - all_fast)) for name, mean in known.items()]
    parts.append(Part("rest", *rest, (rest[0] - rest[1]) / (all_slow - all_fast)))
    return tuple(sorted(parts, key=lambda part: -part.share))


def time_fields(fields: Mapping[str, object]) -> list[str]:
    """Return the fields that are parts of a request's duration: timers (which also count calls) and loop lag."""
    return [
        name
        for name in fields
        if name == _LAG or (name.endswith("_ms") and f"{name.removesuffix('_ms')}_calls" in fields)
    ]


def _examples(counts: FieldCounts, causes: tuple[Discriminator, ...]) -> tuple[LogLine, ...]:
    """Return slow requests with the values of the first cause, the slowest first."""
    if not causes:
        return counts.slow_lines[:_MAX_EXAMPLES]
    first = causes[0]
    typical = [line for line in counts.slow_lines if any(_has(line, first.field, value) for value in first.values)]
    return tuple((typical or list(counts.slow_lines))[:_MAX_EXAMPLES])


def _has(line: LogLine, field: str, value: FieldValue) -> bool:
    if value.json is None or field not in line.fields:
        return value.json is None and field not in line.fields
    try:
        return bool(json.loads(value.json, parse_constant=str) == line.fields[field])
    except (ValueError, RecursionError):
        return False


def show(explanation: Explanation, console: Console) -> None:
    """Print the causes, effects, parts and examples."""
    if explanation.window is None:
        where = {"metrics": "in the metrics", "lines": "in the log lines (there are no samples)"}
        console.line(
            (f"There was no spike of {explanation.service} {where[explanation.found_by]}.", "bold"),
            " Choose a window with --from and --to, or another threshold with --slow-ms.",
        )
        return
    start, end = explanation.window
    found = {"metrics": ", found in the metrics", "lines": ", found in the log lines; there are no samples"}
    length = f"{end - start:,.1f} s{found.get(explanation.found_by, '')}"
    console.line((explanation.service, "bold"), f" from {rfc3339(start)} to {rfc3339(end)} ({length})")
    slow, fast = explanation.slow, explanation.fast
    if not slow or not fast:
        result = "Every request was slow" if slow else f"No request took longer than {explanation.slow_ms:g} ms"
        console.line((f"{result}.", "bold"), f" ({slow + fast:,} requests)")
        return
    console.line(f"{slow:,} slow requests (longer than {explanation.slow_ms:g} ms), {fast:,} fast ones.")
    console.line()
    if explanation.causes:
        console.line(("Possible causes", "bold"), ", measured on requests that were not used to find them:")
        for cause in explanation.causes:
            _show_discriminator(cause, explanation, console)
    else:
        fields = ", ".join(explanation.looked_at) or "none"
        console.line(("No cause found.", "bold"), f" Fields compared: {fields}.")
    if explanation.effects:
        console.line()
        console.line(("Effects", "bold"), ", which are not causes:")
        for effect in explanation.effects:
            _show_discriminator(effect, explanation, console)
    _show_parts(explanation, console)
    if explanation.examples:
        console.line()
        console.line(("Examples:", "bold"))
        for line in explanation.examples:
            duration = f"{line.fields.get('duration_ms')} ms"
            console.line(f"  triage trace {line.fields.get('trace_id')}  ", (duration, "dim"))


def _show_discriminator(each: Discriminator, explanation: Explanation, console: Console) -> None:
    values = ["(absent)" if value.json is None else value.json for value in each.values[:_MAX_VALUES]]
    more = f" and {len(each.values) - _MAX_VALUES} more" if len(each.values) > _MAX_VALUES else ""
    condition = f" = {values[0]}" if len(each.values) == 1 else f" in {', '.join(values)}{more}"
    console.line("  ", (each.field, "bold red"), condition)
    console.line(
        f"    strength {each.strength:.2f}: {each.slow:,} of {explanation.slow:,} slow and {each.fast:,} of "
        f"{explanation.fast:,} fast requests; p-value {each.p_value:.1g}"
    )


def _show_parts(explanation: Explanation, console: Console) -> None:
    if not explanation.parts:
        return
    console.line()
    console.line(("Where the time went", "bold"), ", mean of slow requests minus mean of fast ones:")
    for part in explanation.parts:
        filled = "█" * round(min(max(part.share, 0.0), 1.0) * _BAR_WIDTH)
        label = part.name.removesuffix("_ms").replace("_", " ")
        console.line(
            f"  {label:<12} ", (f"{filled:<{_BAR_WIDTH}}", "red"), f" {part.share:>5.0%}",
            (f"  {part.slow_ms:,.1f} ms against {part.fast_ms:,.1f} ms", "dim"),
        )  # fmt: skip


def as_json(explanation: Explanation) -> Mapping[str, object]:
    """Return the JSON output."""
    window = explanation.window
    return {
        "service": explanation.service,
        "slow_ms": explanation.slow_ms,
        "window": window and {"from": rfc3339(window.start), "to": rfc3339(window.end)},
        "found_by": explanation.found_by,
        "slow": explanation.slow,
        "fast": explanation.fast,
        "causes": [_discriminator_json(each) for each in explanation.causes],
        "effects": [_discriminator_json(each) for each in explanation.effects],
        "looked_at": explanation.looked_at,
        "parts": [part._asdict() for part in explanation.parts],
        "examples": [line.fields.get("trace_id") for line in explanation.examples],
    }


def _discriminator_json(each: Discriminator) -> Mapping[str, object]:
    values = [
        {"value": decode(value), "slow": sum(value.counts.slow), "fast": sum(value.counts.fast)}
        for value in each.values
    ]
    return {
        "field": each.field,
        "values": values,
        "strength": round(each.strength, 4),
        "chance": each.p_value,
        "slow": each.slow,
        "fast": each.fast,
    }


def decode(value: FieldValue) -> object:
    """Return the value of a field, or None if the field is absent."""
    try:
        return None if value.json is None else json.loads(value.json, parse_constant=str)
    except (ValueError, RecursionError):
        return value.json
