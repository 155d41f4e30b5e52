"""The dashboard `service`: where the spike is seen, and where the walk begins."""

from grafana_foundation_sdk.builders import common, dashboard, table, timeseries
from grafana_foundation_sdk.builders import loki as loki_builder
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, VariableOption

from grafana.parts import (
    AROUND,
    BLUE,
    CLOCK,
    LOKI,
    MILLISECONDS,
    PROMETHEUS,
    ROW_TIME,
    SERVICE,
    TRACE_LOGS,
    VERMILION,
    Column,
    converted,
    counted,
    largest_first,
    links,
    metric,
    parsed,
    service_variable,
    table_of_lines,
    variable,
    words,
)

INTRODUCTION = """\
**A dot is one request. Click it, and read that request's log lines.**
The latency below is a histogram whose exemplars carry trace ids, and the lines of all services carry the same ids: \
no tracing backend is involved.
[Paste a trace id](/d/trace-logs/trace-logs) · [make other load](http://localhost:8089) (port 8089)"""

_JOB = f'job="{variable("service")}"'
_LINES = f'{{service_name="{variable("service")}"}}'
_REQUESTS = f"http_request_duration_seconds_count{{{_JOB}"
_BUCKETS = f"sum by (le) (rate(http_request_duration_seconds_bucket{{{_JOB}}}[$__rate_interval]))"
_LINK = f"{TRACE_LOGS}?var-trace_id=${{__value.raw}}&{AROUND.format(ROW_TIME)}"

_UNSEEN = [
    DynamicConfigValue(id_val="custom.lineWidth", value=0),
    DynamicConfigValue(id_val="custom.hideFrom", value={"viz": False, "legend": True, "tooltip": True}),
]


def service() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        dashboard.Dashboard("Service")
        .uid("service")
        .description("From a latency spike to the log lines of the requests that caused it.")
        .tags(["spike-to-log"])
        .readonly()
        .timezone("utc")
        # No refresh: it would swap the exemplar under the pointer for another one.
        .refresh("")
        .time("now-15m", "now")
        .with_variable(service_variable())
        .with_variable(
            dashboard.CustomVariable("slow_ms")
            .label("slow is over (ms)")
            .values("100,250,500,1000,2000")
            .current(VariableOption(selected=True, text="500", value="500"))
        )
        .annotation(_incidents_as_marks())
        .with_panel(words(INTRODUCTION, 2))
        .with_panel(_latency())
        .with_panel(_rate())
        .with_panel(_errors())
        .with_panel(_slowest())
        .with_panel(_incidents())
    )


def _latency() -> timeseries.Panel:
    return (
        _series("Request latency (p50, p99)", unit="s")
        .description(
            "Time from a request's arrival to the last byte of its response. A dot is one request: one of each bucket "
            "of the histogram for each scrape, every 5 seconds. The table of the slowest requests has the others."
        )
        .span(24)
        .height(11)
        .axis_soft_max(1)
        .with_target(metric(f"histogram_quantile(0.99, {_BUCKETS})", "p99", dots=True))
        .with_target(metric(f"histogram_quantile(0.50, {_BUCKETS})", "p50"))
        # Grafana does not scale an axis to its exemplars. No dot is higher than the last bucket that has any request,
        # so this line, which is not drawn, keeps them inside.
        .with_target(metric(f"histogram_quantile(1, {_BUCKETS})", "bound"))
        .override_by_name("p99", _color(VERMILION))
        .override_by_name("p50", _color(BLUE))
        .override_by_name("bound", _UNSEEN)
    )


def _rate() -> timeseries.Panel:
    expr = f"sum by (method, route) (rate({_REQUESTS}}}[$__rate_interval]))"
    return (
        _series("Request rate by route", unit="reqps")
        .description("Requests per second. `unmatched` is what no route was found for.")
        .span(12)
        .height(8)
        .fill_opacity(25)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL))
        .with_target(metric(expr, "{{method}} {{route}}"))
    )


def _errors() -> timeseries.Panel:
    expr = (
        f'sum by (route, status) (count_over_time({_LINES} |= `"event":"request.finished"`'
        " | json route, status | status >= 400 [$__auto]))"
    )
    return (
        _series("Errors by route and status", unit="none")
        .description(
            "Responses that are 4xx or 5xx, from the log lines: a rate of counters misses the first of a kind. "
            "499 is a client that left before its answer."
        )
        .span(12)
        .height(8)
        .interval("10s")
        .axis_soft_max(5)
        .draw_style(GraphDrawStyle.BARS)
        .fill_opacity(60)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL))
        .no_value("No errors in this time.")
        .datasource(LOKI)
        .with_target(counted(expr, "{{status}} {{route}}"))
    )


def _slowest() -> table.Panel:
    columns = {
        "Time": Column("Time", CLOCK),
        "duration_ms": Column("Duration", MILLISECONDS),
        "trace_id": Column("Trace id: its lines", {**links("Lines of this request", _LINK), "custom.width": 290}),
        "method": Column("Method", {"custom.width": 75}),
        "route": Column("Route"),
        "status": Column("Status", {"custom.width": 70}),
        "user_id": Column("User", {"custom.width": 70}),
        "db_ms": Column("Database", MILLISECONDS),
        "upstream_ms": Column("Upstream", MILLISECONDS),
    }
    expr = f'{_LINES} |= `"event":"request.finished"` | {parsed(columns)} | duration_ms > {variable("slow_ms")}'
    return (
        table_of_lines(
            expr,
            columns,
            5000,
            [converted("number", "duration_ms", "db_ms", "upstream_ms"), largest_first("duration_ms")],
        )
        .title("Slowest of the latest 5,000 requests over $slow_ms ms")
        .description(
            "From the log lines, so that it has every slow request, also those without a dot. Click a trace id."
        )
        .no_value("No request took longer than that in this time.")
        .span(24)
        .height(10)
    )


def _incidents() -> table.Panel:
    columns = {
        "Time": Column("Began", links("The spike", f"{SERVICE}?var-service=${{service}}&{AROUND.format(ROW_TIME)}")),
        "fault": Column("Fault"),
        "fault_users": Column("Users", {"noValue": "all"}),
        "fault_route": Column("Route", {"noValue": "all"}),
        "fault_until": Column("Ended, or will"),
    }
    expr = f'{_LINES} |= `"event":"fault.started"` | {parsed(columns)}'
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


def _incidents_as_marks() -> dashboard.AnnotationQuery:
    expr = (
        f'{_LINES} |~ `"event":"fault.(started|ended)"` | json event, fault, fault_users, fault_route'
        " | label_format whom=`{{if .fault_users}}users {{.fault_users}}{{else}}all users{{end}}`"
        " | label_format where=`{{if .fault_route}}at {{.fault_route}}{{else}}everywhere{{end}}`"
    )
    return (
        dashboard.AnnotationQuery()
        .name("Incidents")
        .datasource(LOKI)
        .enable(True)
        .icon_color(VERMILION)
        .expr(expr)
        .target(loki_builder.Dataquery().expr(expr).query_type("range").ref_id("Anno"))
        .title_format("{{event}}")
        .text_format("{{fault}} for {{whom}} {{where}}")
        .tag_keys("fault")
    )


def _series(title: str, unit: str) -> timeseries.Panel:
    return (
        timeseries.Panel()
        .title(title)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .line_width(2)
        .show_points(VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )


def _color(color: str) -> list[DynamicConfigValue]:
    return [DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})]
