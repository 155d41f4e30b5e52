"""Traffic: routes, rates and errors."""

from grafana_foundation_sdk.builders import table, timeseries
from grafana_foundation_sdk.models.common import DataSourceRef, TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.charts import NO_REQUESTS, bars, color, line_chart, stacked
from grafana.common import (
    BLUE,
    DARK_BLUE,
    ERRORS_PANEL,
    GREEN,
    GREY,
    LOKI,
    OF_JOB,
    ORANGE,
    PURPLE,
    REQUESTS,
    ROUTES_PANEL,
    SLOW_OR_FAILED,
    TRACE_LOGS,
    log_metric,
    metric,
)
from grafana.tables import Column, links, organize, set_columns, sort

# The routes of the demo. Grafana chooses the colors of other routes.
_COLORS = {
    "GET /users/{user_id}": BLUE,
    "POST /orders": ORANGE,
    "GET /users": GREEN,
    "GET /orders": PURPLE,
    "POST /charges": DARK_BLUE,
    "POST /faults": GREY,
}


def routes() -> table.Panel:
    """Return the table with one row for each route, which links to the slowest request of the route."""
    rate = f"sum by (method, route) (rate({REQUESTS}{{{OF_JOB}}}[$__range]))"
    failed = f'sum by (method, route) (rate({REQUESTS}{{{OF_JOB}, status=~"5.."}}[$__range]))'
    rates = f"sum by (method, route, le) (rate(http_request_duration_seconds_bucket{{{OF_JOB}}}[$__range]))"
    slowest = (
        "topk by (method, route) (1, max by (method, route, trace_id) (max_over_time("
        f"{SLOW_OR_FAILED} | json method, route, duration_ms | unwrap duration_ms [$__range])))"
    )
    link = f"{TRACE_LOGS}?var-trace_id=${{__data.fields.trace_id}}&${{__url_time_range}}"
    columns = {
        "method": Column("Method", {"custom.width": 75}),
        "route": Column("Route"),
        "Value #rate": Column("Requests/s", {"unit": "none", "decimals": 2, "custom.width": 100}),
        "Value #errors": Column("Errors", {"unit": "percentunit", "decimals": 2, "custom.width": 90}),
        "Value #p50": Column("p50", {"unit": "s", "decimals": 3, "custom.width": 90}),
        "Value #p99": Column("p99", {"unit": "s", "decimals": 3, "custom.width": 90}),
        "Value #slowest": Column(
            "Slowest: its lines",
            {**links("Lines of the slowest request", link), "unit": "ms", "decimals": 0, "custom.width": 150},
        ),
        "trace_id": Column("Trace id", {"custom.hideFrom.viz": True}),
    }
    panel = table.Panel().datasource(DataSourceRef(type_val="datasource", uid="-- Mixed --"))
    for name, expr in {
        "rate": rate,
        "errors": f"({failed} or {rate} * 0) / ({rate} > 0)",
        "p50": f"histogram_quantile(0.50, {rates})",
        "p99": f"histogram_quantile(0.99, {rates})",
    }.items():
        panel.with_target(metric(expr, "").instant().format(PromQueryFormat.TABLE).ref_id(name))
    panel.with_target(log_metric(slowest, "").query_type("instant").ref_id("slowest"))
    for transformation in (
        DataTransformerConfig(id_val="merge", options={}),
        organize(list(columns), ["Time"]),
        sort("Value #rate"),
    ):
        panel.with_transformation(transformation)
    return (
        set_columns(panel, columns, {"noValue": "-"})
        .title("Routes")
        .description(
            "Of all requests in the time range. `unmatched` are requests for paths without a route. Click the slowest "
            "duration for the log lines of that request; a route without one had no slow or failed request."
        )
        .id(ROUTES_PANEL)
        .cell_height(TableCellHeight.SM)
        .no_value(NO_REQUESTS)
        .span(24)
        .height(8)
    )


def rate() -> timeseries.Panel:
    """Return the panel with the rate of each route."""
    panel = (
        stacked(line_chart("Requests by route", unit="reqps"))
        .description("Requests per second of all replicas.")
        .span(12)
        .height(8)
        .no_value(NO_REQUESTS)
        .with_target(
            metric(f"sum by (method, route) (rate({REQUESTS}{{{OF_JOB}}}[$__rate_interval]))", "{{method}} {{route}}")
        )
    )
    for name, value in _COLORS.items():
        panel.override_by_name(name, color(value))
    return panel


def errors() -> timeseries.Panel:
    """Return the panel with the failed requests."""
    expr = f'sum by (route, status) (count_over_time({SLOW_OR_FAILED} |= `"status":5` | json route, status [$__auto]))'
    return (
        bars(line_chart("5xx responses by route and status", unit="none"))
        .description("Counted from the log lines: a rate of a counter misses the first event of a series.")
        .id(ERRORS_PANEL)
        .span(12)
        .height(8)
        .interval("10s")
        .axis_soft_max(5)
        .no_value("No 5xx responses in this time.")
        .datasource(LOKI)
        .with_target(log_metric(expr, "{{status}} {{route}}"))
    )


def client_errors() -> timeseries.Panel:
    """Return the panel with the responses 4xx."""
    expr = f'sum by (route, status) (rate({REQUESTS}{{{OF_JOB}, status=~"4.."}}[$__rate_interval])) > 0'
    return (
        bars(line_chart("4xx responses by route and status", unit="reqps"))
        .description("Per second. 499 is a client that disconnected before its response.")
        .span(12)
        .height(8)
        .no_value("No 4xx responses in this time.")
        .with_target(metric(expr, "{{status}} {{route}}"))
    )
