"""The tables of requests, each row of which leads to its lines; and of incidents."""

from grafana_foundation_sdk.builders import table

from grafana.parts import AROUND, FINISHED, OF_SERVICE, SERVICE, TRACE_LOGS, variable
from grafana.tables import (
    CLOCK,
    MILLISECONDS,
    ROW_TIME,
    Column,
    converted,
    largest_first,
    links,
    parsed,
    table_of_lines,
)

_LINK = f"{TRACE_LOGS}?var-trace_id=${{__value.raw}}&{AROUND.format(ROW_TIME)}"

TRACE_ID = Column("Trace id: its lines", {**links("Lines of this request", _LINK), "custom.width": 290})
USER = Column("User", {"custom.width": 70})
STATUS = Column("Status", {"custom.width": 70})
REPLICA = Column("Replica", {"custom.width": 135})
METHOD = Column("Method", {"custom.width": 75})


def slowest() -> table.Panel:
    """Build the table that has every slow request, also those without a dot."""
    columns = {
        "Time": Column("Time", CLOCK),
        "duration_ms": Column("Duration", MILLISECONDS),
        "trace_id": TRACE_ID,
        "method": METHOD,
        "route": Column("Route"),
        "status": STATUS,
        "user_id": USER,
        "db_ms": Column("Database", MILLISECONDS),
        "upstream_ms": Column("Upstream", MILLISECONDS),
        "instance": REPLICA,
    }
    expr = f"{FINISHED} | json duration_ms | duration_ms > {variable('slow_ms')} | {parsed(columns)}"
    numbers = converted("number", "duration_ms", "db_ms", "upstream_ms")
    return (
        table_of_lines(expr, columns, 5000, [numbers, largest_first("duration_ms")])
        .title("Slowest of the latest 5,000 requests over $slow_ms ms")
        .description(
            "From the log lines, so that it has every slow request, also those without a dot. Click a trace id."
        )
        .no_value("No request took longer than that in this time.")
        .span(24)
        .height(10)
    )


def failed() -> table.Panel:
    """Build the table of errors, the latest first: what a client was told."""
    columns = {
        "Time": Column("Time", CLOCK),
        "status": STATUS,
        "trace_id": TRACE_ID,
        "method": METHOD,
        "route": Column("Route"),
        "outcome": Column("Outcome"),
        "user_id": USER,
        "duration_ms": Column("Duration", MILLISECONDS),
        "instance": REPLICA,
    }
    expr = f'{FINISHED} |~ `"status":[45]` | {parsed(columns)}'
    return (
        table_of_lines(expr, columns, 500, [converted("number", "duration_ms")])
        .title("Errors and their lines")
        .description("The latest 500 requests that were answered with 4xx or 5xx. Click a trace id to read why.")
        .no_value("No errors in this time.")
        .span(24)
        .height(8)
    )


def incidents() -> table.Panel:
    """Build the table of what the fault lab did."""
    columns = {
        "Time": Column("Began", links("The spike", f"{SERVICE}?var-service=${{service}}&{AROUND.format(ROW_TIME)}")),
        "fault": Column("Fault"),
        "fault_users": Column("Users", {"noValue": "all"}),
        "fault_route": Column("Route", {"noValue": "all"}),
        "fault_until": Column("Ended, or will"),
    }
    expr = f'{{{OF_SERVICE}, level="warning"}} |= `"event":"fault.started"` | {parsed(columns)}'
    return (
        table_of_lines(expr, columns, 100)
        .title("Recent incidents")
        .description(
            "What the fault lab did on purpose. Click a time: this dashboard opens around it, and stays there."
        )
        .no_value("No incidents in the last 6 hours.")
        .time_from("6h")
        .span(24)
        .height(7)
    )
