"""Tables of measured runs: their verdicts, and their slowest and failed requests."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import table

from grafana.common import GREEN, GREY, LOAD_TEST, RUN_EVENTS, RUN_TIME_RANGE, VERMILION, variable
from grafana.tables import (
    CLOCK,
    MILLISECONDS,
    TRACE_ID,
    Column,
    convert,
    links,
    parse,
    sort,
    table_of_lines,
)

# Narrow, to leave space for the reason.
_NARROW: Mapping[str, object] = {**MILLISECONDS, "custom.width": 72}
_COUNT: Mapping[str, object] = {"unit": "locale", "custom.width": 60}
_PER_SECOND: Mapping[str, object] = {"unit": "none", "decimals": 1, "custom.width": 76}
_NAME: Mapping[str, object] = {"custom.width": 155}
_HIDDEN: Mapping[str, object] = {"custom.hideFrom.viz": True}

# The word is the information; the colors are those that color-blind people can distinguish.
_VERDICT = Column(
    "Verdict",
    {
        "custom.width": 78,
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
        "mappings": [
            {
                "type": "value",
                "options": {
                    word: {"index": index, "text": word, "color": color}
                    for index, (word, color) in enumerate({"PASS": GREEN, "FAIL": VERMILION, "INVALID": GREY}.items())
                },
            }
        ],
    },
)

_HERE = links(
    "This run",
    f"{LOAD_TEST}?var-service={variable('service')}&from=${{__data.fields.from}}&to=${{__data.fields.to}}",
)


def runs() -> table.Panel:
    """Return the table of the runs with a verdict."""
    columns = {
        "Time": Column("Ended", {"unit": "time:HH:mm:ss", "custom.width": 78}),
        "run": Column("Run: its time", {**_HERE, **_NAME}),
        "verdict": _VERDICT,
        "profile": Column("Profile", {"custom.width": 75}),
        "loop": Column("Loop", {"custom.width": 62}),
        "rate": Column("Planned /s", {**_PER_SECOND, "custom.width": 92}),
        "achieved_rate": Column("Sent /s", _PER_SECOND),
        "failures": Column("Failed", _COUNT),
        "p50_ms": Column("p50", _NARROW),
        "p95_ms": Column("p95", _NARROW),
        "p99_ms": Column("p99", _NARROW),
        "why": Column("Why", {"custom.inspect": True}),
        "from": Column("From", _HIDDEN),
        "to": Column("To", _HIDDEN),
    }
    expr = f'{RUN_EVENTS} |= `"event":"run.verdict"` | {parse(columns)} | {RUN_TIME_RANGE}'
    numbers = ("rate", "achieved_rate", "failures", "p50_ms", "p95_ms", "p99_ms")
    return (
        table_of_lines(expr, columns, 100, [convert("number", *numbers), sort("Time")])
        .title("Runs and their verdicts")
        .description(
            "Written by `triage verdict`: the runs of the last 24 hours, the latest first. Click a run for its time "
            "range."
        )
        .no_value("No measured run in the last 24 hours: start one with `make load`.")
        .time_from("24h")
        .span(24)
        .height(7)
    )


def slowest() -> table.Panel:
    """Return the table of the slowest and failed requests of each run."""
    columns = {
        "Time": Column("Sent at", CLOCK),
        "why": Column("Why", {"custom.width": 62}),
        "client_ms": Column("Client", _NARROW),
        "server_ms": Column("Server", _NARROW),
        "difference_ms": Column("Difference", {**_NARROW, "custom.width": 92}),
        "trace_id": Column(TRACE_ID.title, {**TRACE_ID.properties, "custom.width": 282}),
        "method": Column("Method", {"custom.width": 68}),
        "route": Column("Route", {"custom.width": 120}),
        "status": Column("Status", {"noValue": "none", "custom.width": 64}),
        "run": Column("Run", _NAME),
    }
    expr = f'{RUN_EVENTS} |= `"event":"run.slow"` | {parse(columns)}'
    numbers = convert("number", "client_ms", "server_ms", "difference_ms")
    return (
        table_of_lines(expr, columns, 1000, [numbers, sort("client_ms")])
        .title("Slowest and failed requests of the runs")
        .description(
            "The ten slowest and the failed requests of each run, 50 at most. *Difference* is the duration at the "
            "client minus the duration at the server: the network, queues and the load generator. Click a trace id "
            "for the log lines."
        )
        .no_value("No run with a verdict in this time: click one above.")
        .span(24)
        .height(9)
    )
