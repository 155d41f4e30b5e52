"""`triage explain` on the terminal, and for machines."""

import json
from collections.abc import Mapping

from triage.explain import Explanation
from triage.moments import rfc3339
from triage.screen import Screen
from triage.separate import Separation
from triage.tally import Value

_MOST_VALUES = 12
_WIDTH = 30


def show(explanation: Explanation, screen: Screen) -> None:
    """Show what separates slow from fast, or say that nothing does."""
    if not _has_window(explanation, screen):
        return
    slow, fast = explanation.slow, explanation.fast
    if not slow or not fast:
        told = f"No request took longer than {explanation.slow_ms:g} ms" if slow == 0 else "Every request was slow"
        screen.line((f"{told}: there is nothing to tell apart.", "bold"), f" ({slow + fast:,} requests)")
        return
    screen.line(f"{slow:,} slow requests (longer than {explanation.slow_ms:g} ms), {fast:,} fast ones.")
    screen.line()
    if explanation.causes:
        screen.line(("What separates them", "bold"), ", measured on requests that had no part in the choice:")
        for cause in explanation.causes:
            _separation(cause, explanation, screen)
    else:
        screen.line(("Nothing explains it.", "bold"), f" Looked at: {', '.join(explanation.looked_at) or 'no field'}.")
    if explanation.effects:
        screen.line()
        screen.line(("What goes with it", "bold"), ", and is no cause:")
        for effect in explanation.effects:
            _separation(effect, explanation, screen)
    _parts(explanation, screen)
    if explanation.examples:
        screen.line()
        screen.line(("Look at one:", "bold"))
        for line in explanation.examples:
            screen.line(
                f"  triage trace {line.fields.get('trace_id')}  ", (f"{line.fields.get('duration_ms')} ms", "dim")
            )


def _has_window(explanation: Explanation, screen: Screen) -> bool:
    where = {"metrics": "in the metrics", "lines": "in the lines; there are no samples"}.get(explanation.found_by, "")
    if explanation.window is None:
        told = f"There was no spike of {explanation.service} ({where}): nothing to explain."
        screen.line((told, "bold"), " Name a window with --from and --to, or another bound with --slow-ms.")
        return False
    start, end = explanation.window
    found = f", found {where}" if where else ""
    screen.line(
        (explanation.service, "bold"), f" from {rfc3339(start)} to {rfc3339(end)} ({end - start:,.1f} s{found})"
    )
    return True


def _separation(each: Separation, explanation: Explanation, screen: Screen) -> None:
    values = [_value(value) for value in each.values[:_MOST_VALUES]]
    more = f" and {len(each.values) - _MOST_VALUES} more" if len(each.values) > _MOST_VALUES else ""
    is_in = f" = {values[0]}" if len(each.values) == 1 else f" in {', '.join(values)}{more}"
    screen.line("  ", (each.field, "bold red"), is_in)
    screen.line(
        f"    strength {each.strength:.2f}: {each.slow:,} of {explanation.slow:,} slow and {each.fast:,} of "
        f"{explanation.fast:,} fast requests have it; by chance: {each.chance:.1g}"
    )


def _value(value: Value) -> str:
    return "(absent)" if value.json is None else value.json


def _parts(explanation: Explanation, screen: Screen) -> None:
    if not explanation.parts:
        return
    screen.line()
    screen.line(("Where the time went", "bold"), ", on average, slow less fast:")
    for part in explanation.parts:
        filled = "█" * round(min(max(part.share, 0.0), 1.0) * _WIDTH)
        label = part.name.removesuffix("_ms").replace("_", " ")
        screen.line(
            f"  {label:<12} ", (f"{filled:<{_WIDTH}}", "red"), f" {part.share:>5.0%}",
            (f"  {part.slow_ms:,.1f} ms against {part.fast_ms:,.1f} ms", "dim"),
        )  # fmt: skip


def as_json(explanation: Explanation) -> Mapping[str, object]:
    """Return what a machine wants to know."""
    window = explanation.window
    return {
        "service": explanation.service,
        "slow_ms": explanation.slow_ms,
        "window": window and {"from": rfc3339(window.start), "to": rfc3339(window.end)},
        "found_by": explanation.found_by,
        "slow": explanation.slow,
        "fast": explanation.fast,
        "causes": [_separation_json(each) for each in explanation.causes],
        "effects": [_separation_json(each) for each in explanation.effects],
        "looked_at": explanation.looked_at,
        "parts": [part._asdict() for part in explanation.parts],
        "examples": [line.fields.get("trace_id") for line in explanation.examples],
    }


def _separation_json(each: Separation) -> Mapping[str, object]:
    values = [
        {"value": decoded(value), "slow": sum(value.counts.slow), "fast": sum(value.counts.fast)}
        for value in each.values
    ]
    return {
        "field": each.field,
        "values": values,
        "strength": round(each.strength, 4),
        "chance": each.chance,
        "slow": each.slow,
        "fast": each.fast,
    }


def decoded(value: Value) -> object:
    """Return a value of a line; None where the field is absent."""
    try:
        return None if value.json is None else json.loads(value.json, parse_constant=str)
    except (ValueError, RecursionError):
        return value.json
