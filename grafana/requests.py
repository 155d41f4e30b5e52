"""Requests, incidents and log lines: tables whose rows link to log lines."""

from grafana_foundation_sdk.builders import logs, table, timeseries
from grafana_foundation_sdk.models.common import LogsSortOrder

from grafana.charts import bars, color, line_chart
from grafana.common import (
    AROUND,
    BLUE,
    GREY,
    LOKI,
    OF_JOB,
    OF_SERVICE,
    ORANGE,
    PURPLE,
    SERVICE,
    SLOW_OR_FAILED,
    VERMILION,
    lines,
    metric,
    variable,
)
from grafana.tables import (
    CLOCK,
    METHOD,
    MILLISECONDS,
    ROW_TIME,
    STATUS,
    TRACE_ID,
    USER,
    Column,
    convert,
    if_empty,
    links,
    parse,
    sort,
    table_of_lines,
)

_REPLICA = Column("Replica", {"custom.width": 135})


def slowest() -> table.Panel:
    """Return the table of all slow requests."""
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
        "instance": _REPLICA,
    }
    numbers = convert("number", "duration_ms", "db_ms", "upstream_ms")
    return (
        table_of_lines(f"{SLOW_OR_FAILED} | {parse(columns)}", columns, 5000, [numbers, sort("duration_ms")])
        .title("Slowest requests")
        .description("The dots above as a table, the slowest first. Click a trace id for the log lines of the request.")
        .no_value(if_empty("No request was slow or failed in this time."))
        .span(24)
        .height(10)
    )


def failed() -> table.Panel:
    """Return the table of failed requests, the latest first."""
    columns = {
        "Time": Column("Time", CLOCK),
        "status": STATUS,
        "trace_id": TRACE_ID,
        "method": METHOD,
        "route": Column("Route"),
        "outcome": Column("Outcome"),
        "user_id": USER,
        "duration_ms": Column("Duration", MILLISECONDS),
        "instance": _REPLICA,
    }
    expr = f'{SLOW_OR_FAILED} |= `"status":5` | {parse(columns)}'
    return (
        table_of_lines(expr, columns, 500, [convert("number", "duration_ms")])
        .title("Failed requests")
        .description("The latest 500 responses with status 5xx. Click a trace id for the reason.")
        .no_value(if_empty("No failed requests in this time."))
        .span(24)
        .height(8)
    )


def incidents() -> table.Panel:
    """Return the table of the faults that were started."""
    spike = f"{SERVICE}?var-service={variable('service')}&{AROUND.format(ROW_TIME)}"
    columns = {
        "Time": Column("Started", links("The spike", spike)),
        "fault": Column("Fault"),
        "fault_users": Column("Users", {"noValue": "all"}),
        "fault_route": Column("Route", {"noValue": "all"}),
        "fault_until": Column("End"),
    }
    expr = f'{{{OF_SERVICE}, level="warning"}} |= `"event":"fault.started"` | {parse(columns)}'
    return (
        table_of_lines(expr, columns, 100)
        .title("Recent incidents")
        .description("Faults that were started on purpose. Click a time to open this dashboard at that time.")
        .no_value(if_empty("No incidents in the last 6 hours."))
        .time_from("6h")
        .span(24)
        .height(7)
    )


_LEVELS = {"debug": GREY, "info": BLUE, "warning": ORANGE, "error": VERMILION, "critical": PURPLE}


def volume() -> timeseries.Panel:
    """Return the panel with the number of log lines by level."""
    panel = (
        bars(line_chart("Log lines by level", unit="none"))
        .description("Log lines per second that the service wrote.")
        .span(24)
        .height(6)
        .no_value("No log lines in this time.")
        .with_target(metric(f"sum by (level) (rate(log_records_total{{{OF_JOB}}}[$__rate_interval])) > 0", "{{level}}"))
    )
    for level, value in _LEVELS.items():
        panel.override_by_name(level, color(value))
    return panel


def log_lines() -> logs.Panel:
    """Return the latest log lines of the time range."""
    expr = f'{{{OF_SERVICE}, level!="debug"}} | json message, method, route, status, duration_ms, error_type'
    text = (
        "{{.message}}{{if .route}} {{.method}} {{.route}}{{end}}{{if .status}} {{.status}} in {{.duration_ms}} "
        "ms{{end}}{{if .error_type}} {{.error_type}}{{end}}"
    )
    return (
        logs.Panel()
        .title("Latest log lines")
        .description(
            "The latest 200 lines in the time range, without debug lines. Open a line for a link to its request."
        )
        .datasource(LOKI)
        .with_target(lines(f"{expr} | line_format `{text}`", 200))
        .show_time(True)
        .enable_log_details(True)
        .sort_order(LogsSortOrder.DESCENDING)
        .span(24)
        .height(12)
    )
