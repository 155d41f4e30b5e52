"""The dashboard `trace-logs`: one request, by its id; the walk's end, and the way back."""

from grafana_foundation_sdk.builders import barchart, dashboard, logs, table
from grafana_foundation_sdk.models.common import (
    LegendPlacement,
    LogsSortOrder,
    StackingMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, VariableHide
from grafana_foundation_sdk.models.loki import LokiQueryDirection

from grafana import neighbours
from grafana.charts import PARSED_PARTS, PARTS, color, legend, tooltip
from grafana.parts import AROUND, LOKI, SERVICE, board, lines, service_variable, variable, words
from grafana.tables import (
    CLOCK,
    MILLISECONDS,
    ROW_TIME,
    Column,
    converted,
    extracted,
    in_order,
    largest_first,
    links,
    parsed,
    table_of_lines,
)

INTRODUCTION = """\
**All log lines of one request, from every service that it went through.**
The box above takes a trace id: the `X-Trace-ID` of a response, the `trace_id` of a log line or of a problem, or, \
without a `traceparent`, the `X-Request-ID` that you sent yourself. The time range has to contain the request."""

_LINES = f'{{service_name=~".+"}} | trace_id="{variable("trace_id")}" | trace_id!=""'

_FINISHED = f'{_LINES} |= `"event":"request.finished"`'

# Service, route and message, and what makes a line worth reading: of a failure, its kind and the payload. Its details
# have the JSON, as `line`.
_READABLE = (
    '{{printf "%-9s" .service_name}}{{if .route}} {{.method}} {{.route}}{{end}} {{.message}}'
    "{{if .status}} {{.status}} in {{.duration_ms}} ms{{end}}{{if .statement_ms}} in {{.statement_ms}} ms{{end}}"
    "{{if .error_type}} {{.error_type}}{{end}}{{if .payload}} {{.payload}}{{end}}"
)

# What is a label already, and would be shown twice.
_TWICE = "instance_extracted, level_extracted, trace_id_extracted, service"


def trace_logs() -> dashboard.Dashboard:
    """Build the dashboard."""
    builder = (
        board("Trace logs", "trace-logs", "The log lines of one request.", "now-1h")
        .with_variable(dashboard.TextBoxVariable("trace_id").label("trace id").default_value(""))
        .with_variable(service_variable().hide(VariableHide.HIDE_VARIABLE))
        .link(
            dashboard.DashboardLink("Back to the spike")
            .url(SERVICE)
            .keep_time(True)
            .include_vars(False)
            .icon("arrow-left")
        )
        .with_panel(words(INTRODUCTION, 2))
        .with_panel(_facts())
        .with_panel(_parts())
        .with_panel(_all_lines())
        .with_panel(neighbours.of_the_user())
        .with_panel(neighbours.of_the_second())
    )
    for variable_of_a_click in neighbours.variables():
        builder.with_variable(variable_of_a_click)
    return builder


def _facts() -> table.Panel:
    back = links(
        "Back to the spike", f"{SERVICE}?var-service=${{__data.fields.service_name}}&{AROUND.format(ROW_TIME)}"
    )
    columns = {
        "Time": Column("Finished", {**back, **CLOCK}),
        "service_name": Column("Service", {"custom.width": 85}),
        "method": Column("Method", {"custom.width": 75}),
        "route": Column("Route"),
        "status": Column("Status", {"custom.width": 65}),
        "duration_ms": Column("Duration", MILLISECONDS),
        "db_ms": Column("Database", MILLISECONDS),
        "pool_wait_ms": Column("Pool wait", MILLISECONDS),
        "upstream_ms": Column("Upstream", MILLISECONDS),
        "user_id": Column("User", {**neighbours.TO_NEIGHBOURS, "custom.width": 60}),
        "request_id": Column("Request id", {"custom.width": 210}),
        "second": Column("Second", {"custom.hideFrom.viz": True}),
    }
    expr = f"{_FINISHED} | {parsed(columns)} | {neighbours.SECOND}"
    return (
        table_of_lines(
            expr,
            columns,
            100,
            # The outermost service first: it waited for the others.
            [converted("number", "duration_ms", "db_ms", "pool_wait_ms", "upstream_ms"), largest_first("duration_ms")],
        )
        .title("Request ${trace_id}")
        .description(
            "One row for each service that the request went through. Click the time to go back to the spike; click the "
            "user for the other requests of that user and of that second."
        )
        .no_value("Nothing to show: paste a whole trace id above, and choose a time that contains the request.")
        .span(24)
        .height(5)
    )


def _parts() -> barchart.Panel:
    panel = barchart.Panel().datasource(LOKI).orientation(VizOrientation.HORIZONTAL).stacking(StackingMode.NORMAL)
    fields = ["service_name", *PARTS]
    panel.with_target(lines(f"{_FINISHED} | {PARSED_PARTS}", 100)).with_transformation(
        extracted({field: field for field in fields})
    )
    panel.with_transformation(converted("number", *PARTS)).with_transformation(in_order(fields))
    for field, (name, value) in PARTS.items():
        panel.override_by_name(field, [DynamicConfigValue(id_val="displayName", value=name), *color(value)])
    return (
        panel.title("Where its time went")
        .description(
            "The parts of the request's duration at each service, as its line has them. What one service calls "
            "upstream is the whole of another one's row. Parts that happen at the same time are in all of them."
        )
        .unit("ms")
        .x_field("service_name")
        .fill_opacity(80)
        .show_value(VisibilityMode.NEVER)
        .tooltip(tooltip())
        .legend(legend(LegendPlacement.RIGHT))
        .no_value("Nothing to show: no line of this id says that a request finished.")
        .span(24)
        .height(5)
    )


def _all_lines() -> logs.Panel:
    fields = f"label_format line=`{{{{__line__}}}}` | json | json payload | drop {_TWICE}"
    expr = f"{_LINES} | {fields} | line_format `{_READABLE}`"
    return (
        logs.Panel()
        .title("Lines of all services")
        .description("In the order of their times. Open a line for its fields and for the JSON as it was written.")
        .datasource(LOKI)
        .with_target(lines(expr, 2000, LokiQueryDirection.FORWARD))
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .sort_order(LogsSortOrder.ASCENDING)
        .span(24)
        .height(14)
    )
