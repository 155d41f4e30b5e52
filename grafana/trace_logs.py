"""The dashboard `trace-logs`: all log lines of one request, by its trace id."""

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

from grafana import related
from grafana.charts import PARSED_PARTS, PARTS, color, legend, tooltip
from grafana.common import AROUND, LOKI, SERVICE, TRACE_LOGS, lines, new_dashboard, text_panel, variable
from grafana.explore import explore
from grafana.tables import (
    CLOCK,
    MILLISECONDS,
    ROW_TIME,
    Column,
    convert,
    extract_fields,
    if_empty,
    links,
    organize,
    parse,
    sort,
    table_of_lines,
)

_LINES = f'{{service_name=~".+"}} | trace_id="{variable("id")}" | trace_id!=""'

_FINISHED = f'{_LINES} |= `"event":"request.finished"`'

INTRODUCTION = f"""\
**All log lines of the request `${{id}}`, from every service.** \
[Link to this page]({TRACE_LOGS}?var-trace_id={variable("id")}&from=${{__from}}&to=${{__to}}) · \
[open in Explore]({explore(LOKI, _LINES)}) · \
The box above takes a trace id: the `X-Trace-ID` of a response or the `trace_id` of a log line. \
The time range has to contain the request."""

# Service, route and message, and for failures their type and the payload. The details contain the JSON as `line`.
_TEXT = (
    '{{printf "%-9s" .service_name}}{{if .route}} {{.method}} {{.route}}{{end}} {{.message}}'
    "{{if .status}} {{.status}} in {{.duration_ms}} ms{{end}}{{if .statement_ms}} in {{.statement_ms}} ms{{end}}"
    "{{if .error_type}} {{.error_type}}{{end}}{{if .payload}} {{.payload}}{{end}}"
)

# Labels and structured metadata, which would be shown twice.
_DUPLICATES = "instance_extracted, level_extracted, trace_id_extracted, service"

_NO_LINES = "No log lines: paste a whole trace id above, and select a time range that contains the request."


def trace_logs() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        new_dashboard("Trace logs", "trace-logs", "All log lines of one request.", "now-1h", VariableHide.HIDE_VARIABLE)
        .with_variable(dashboard.TextBoxVariable("trace_id").label("trace id").default_value(""))
        # Grafana removes blanks around the values of this type of variable.
        .with_variable(dashboard.CustomVariable("id").values("${trace_id}").hide(VariableHide.HIDE_VARIABLE))
        .with_panel(text_panel(INTRODUCTION, 2))
        .with_panel(_summary())
        .with_panel(_parts())
        .with_panel(_all_lines())
        .with_panel(related.same_user())
        .with_panel(related.same_second())
    )


def _summary() -> table.Panel:
    spike = f"{SERVICE}?var-service=${{__data.fields.service_name}}&{AROUND.format(ROW_TIME)}"
    around = f"{TRACE_LOGS}?var-trace_id=${{trace_id:percentencode}}&{AROUND.format(ROW_TIME)}"
    columns = {
        "Time": Column("Finished: the spike", {**links("Back to the spike", spike), **CLOCK, "custom.width": 160}),
        "service_name": Column("Service", {"custom.width": 85}),
        "method": Column("Method", {"custom.width": 75}),
        "route": Column("Route", {"custom.width": 200}),
        "status": Column("Status", {"custom.width": 65}),
        "duration_ms": Column("Duration", MILLISECONDS),
        "user_id": Column("User", {**links("Other requests of this user at that time", around), "custom.width": 60}),
        "request_id": Column("Request id"),
    }
    numbers = convert("number", "duration_ms")
    return (
        # The first service is the one that waited for the others.
        table_of_lines(f"{_FINISHED} | {parse(columns)}", columns, 100, [numbers, sort("duration_ms")])
        .title("Request")
        .description("One row for each service that handled the request. Click the time to go back to the spike.")
        .no_value(if_empty(_NO_LINES))
        .span(24)
        .height(4)
    )


def _parts() -> barchart.Panel:
    panel = barchart.Panel().datasource(LOKI).orientation(VizOrientation.HORIZONTAL).stacking(StackingMode.NORMAL)
    fields = ["service_name", *PARTS]
    panel.with_target(lines(f"{_FINISHED} | {PARSED_PARTS}", 100))
    panel.with_transformation(extract_fields({field: field for field in fields}))
    panel.with_transformation(convert("number", *PARTS)).with_transformation(organize(fields))
    for field, (name, value) in PARTS.items():
        panel.override_by_name(field, [DynamicConfigValue(id_val="displayName", value=name), *color(value)])
    return (
        panel.title("Where the time went")
        .description(
            "The parts of the duration at each service. The upstream part of one service is the whole bar of another. "
            "Concurrent parts can add up to more than the duration."
        )
        .unit("ms")
        .x_field("service_name")
        .fill_opacity(80)
        .show_value(VisibilityMode.NEVER)
        .tooltip(tooltip())
        .legend(legend(LegendPlacement.RIGHT))
        .no_value(if_empty(_NO_LINES))
        .span(24)
        .height(5)
    )


def _all_lines() -> logs.Panel:
    fields = f"label_format line=`{{{{__line__}}}}` | json | json payload | drop {_DUPLICATES}"
    return (
        logs.Panel()
        .title("Lines of all services")
        .description("In the order of their times. Open a line for its fields and for the JSON as it was written.")
        .datasource(LOKI)
        .with_target(lines(f"{_LINES} | {fields} | line_format `{_TEXT}`", 2000, LokiQueryDirection.FORWARD))
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .sort_order(LogsSortOrder.ASCENDING)
        .span(24)
        .height(11)
    )
