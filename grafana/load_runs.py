"""The tables of measured runs: their verdicts, and their slowest and failed requests."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import table

from grafana.charts import GREY
from grafana.parts import GREEN, LOAD_TEST, TELLS_OF_RUNS, VERMILION, WITH_EDGES, variable
from grafana.requests import TRACE_ID
from grafana.tables import (
    CLOCK,
    MILLISECONDS,
    Column,
    converted,
    largest_first,
    links,
    parsed,
    table_of_lines,
)

# Narrow, so that there is room for why.
_NARROW: Mapping[str, object] = {**MILLISECONDS, "custom.width": 72}
_COUNT: Mapping[str, object] = {"unit": "locale", "custom.width": 60}
_EACH_SECOND: Mapping[str, object] = {"unit": "none", "decimals": 1, "custom.width": 76}
_NAME: Mapping[str, object] = {"custom.width": 155}
_UNSEEN: Mapping[str, object] = {"custom.hideFrom.viz": True}

# Told apart by the word, and then by colours that colour-blind people can tell apart.
_VERDICT = Column(
    "Verdict",
    {
        "custom.width": 78,
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
        "mappings": [
            {
                "type": "value",
                "options": {
                    word: {"index": index, "text": word, "color": paint}
                    for index, (word, paint) in enumerate({"PASS": GREEN, "FAIL": VERMILION, "INVALID": GREY}.items())
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
    """Build the table of the runs that were judged."""
    columns = {
        "Time": Column("Ended", {"unit": "time:HH:mm:ss", "custom.width": 78}),
        "run": Column("Run: its time", {**_HERE, **_NAME}),
        "verdict": _VERDICT,
        "profile": Column("Profile", {"custom.width": 75}),
        "loop": Column("Loop", {"custom.width": 62}),
        "rate": Column("Asked /s", _EACH_SECOND),
        "achieved_rate": Column("Sent /s", _EACH_SECOND),
        "failures": Column("Failed", _COUNT),
        "p50_ms": Column("p50", _NARROW),
        "p95_ms": Column("p95", _NARROW),
        "p99_ms": Column("p99", _NARROW),
        "why": Column("Why", {"custom.inspect": True}),
        "from": Column("From", _UNSEEN),
        "to": Column("To", _UNSEEN),
    }
    expr = f'{TELLS_OF_RUNS} |= `"event":"run.verdict"` | {parsed(columns)} | {WITH_EDGES}'
    numbers = ("rate", "achieved_rate", "failures", "p50_ms", "p95_ms", "p99_ms")
    return (
        table_of_lines(expr, columns, 100, [converted("number", *numbers), largest_first("Time")])
        .title("Runs and their verdicts")
        .description(
            "What `triage verdict` said of the runs of the last 24 hours, or, where a time is chosen, of those that "
            "ended in it; the latest first. Click a run for its time, with 15 seconds on both sides."
        )
        .no_value("No run ended in this time and was judged: make load makes one.")
        .time_from("24h")
        .span(24)
        .height(7)
    )


def worst() -> table.Panel:
    """Build the table of the requests that a run shows, each of which leads to its lines."""
    columns = {
        "Time": Column("Sent at", CLOCK),
        "why": Column("Why", {"custom.width": 62}),
        "client_ms": Column("Client", _NARROW),
        "server_ms": Column("Server", _NARROW),
        "difference_ms": Column("Between", {**_NARROW, "custom.width": 78}),
        "trace_id": Column(TRACE_ID.title, {**TRACE_ID.properties, "custom.width": 282}),
        "method": Column("Method", {"custom.width": 68}),
        "route": Column("Route", {"custom.width": 120}),
        "status": Column("Status", {"noValue": "none", "custom.width": 64}),
        "run": Column("Run", _NAME),
    }
    expr = f'{TELLS_OF_RUNS} |= `"event":"run.slow"` | {parsed(columns)}'
    numbers = converted("number", "client_ms", "server_ms", "difference_ms")
    return (
        table_of_lines(expr, columns, 1000, [numbers, largest_first("client_ms")])
        .title("Slowest and failed requests of the runs in this time")
        .description(
            "Of each run its ten slowest requests and those that failed, 50 at most. Between is the client's time less "
            "the server's: the network, queues, and the generator. Click a trace id for the lines."
        )
        .no_value("No run was judged in this time: click one above.")
        .span(24)
        .height(9)
    )
