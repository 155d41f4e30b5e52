"""Parts that all dashboards share: colors, links, variables and queries."""

from grafana_foundation_sdk.builders import dashboard, loki, prometheus, text
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.loki import LokiQueryDirection
from grafana_foundation_sdk.models.loki import QueryEditorMode as LokiEditor
from grafana_foundation_sdk.models.prometheus import QueryEditorMode as PrometheusEditor
from grafana_foundation_sdk.models.text import TextMode

# Variables, so that the dashboards can be imported into a Grafana with other data sources.
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${prometheus}")
LOKI = DataSourceRef(type_val="loki", uid="${loki}")

# From the palette of Okabe and Ito, which color-blind people can distinguish.
ORANGE, BLUE, GREEN, VERMILION = "#E69F00", "#56B4E9", "#009E73", "#D55E00"
PURPLE, DARK_BLUE, GREY = "#CC79A7", "#0072B2", "#999999"

# Links cannot calculate, so five minutes before and after a time are a time and the width of a window.
AROUND = "time={}&time.window=600000"
TRACE_LOGS = "/d/trace-logs/trace-logs"
SERVICE = "/d/service/service"
LOAD_TEST = "/d/load-test/load-test"
SLO_DASHBOARD = "/d/slo/slo"
STACK_HEALTH = "/d/stack-health/stack-health"

TAG = "spike-to-log"

#: Ids of the panels of the home dashboard that links open.
LATENCY_PANEL, ROUTES_PANEL, ERRORS_PANEL = 201, 202, 203


def variable(name: str) -> str:
    """Return the value of a variable for a quoted string in LogQL or PromQL.

    Links and users can put any text into a variable. URL-encoded, a valid value does not change, and no value can close
    the quotes.
    """
    return f"${{{name}:percentencode}}"


#: Keeps the service and the time range in a link to another dashboard.
SAME_VIEW = f"var-service={variable('service')}&${{__url_time_range}}"

#: The series of the selected service.
OF_JOB = f'job="{variable("service")}"'

#: The counter of finished requests.
REQUESTS = "http_request_duration_seconds_count"

#: The streams of the selected service. Before the first request, no service is selected; then the first matcher, which
#: Loki requires, is not empty, and the second one matches no stream.
OF_SERVICE = f'service_name=~".+", service_name="{variable("service")}"'

#: The slow and failed requests of the selected service. Their level is a label, so Loki does not read the lines of the
#: other requests.
SLOW_OR_FAILED = f'{{{OF_SERVICE}, level="warning"}} |= `"event":"request.finished"`'

#: The lines of load runs.
RUN_EVENTS = '{service_name="loadtest"}'

#: Extends the time of a run by 15 seconds on both sides, which contain its last samples. Links cannot calculate.
RUN_TIME_RANGE = "label_format from=`{{sub .from 15000}}`, to=`{{add .to 15000}}`"


def metric(expr: str, legend: str, *, exemplars: bool = False) -> prometheus.Dataquery:
    """Return a range query; Grafana shows exemplars of the first query of a panel only."""
    query = prometheus.Dataquery().datasource(PROMETHEUS).editor_mode(PrometheusEditor.CODE)
    return query.expr(expr).legend_format(legend).range().exemplar(exemplars)


def buckets(histogram: str = "http_request_duration_seconds", by: str = "le", matchers: str = OF_JOB) -> str:
    """Return the rates of the buckets of a histogram."""
    return f"sum by ({by}) (rate({histogram}_bucket{{{matchers}}}[$__rate_interval]))"


def lines(expr: str, max_lines: int, direction: LokiQueryDirection = LokiQueryDirection.BACKWARD) -> loki.Dataquery:
    """Return a query for log lines."""
    return _loki_query(expr).max_lines(max_lines).direction(direction)


def log_metric(expr: str, legend: str) -> loki.Dataquery:
    """Return a query for numbers that Loki calculates from log lines."""
    return _loki_query(expr).legend_format(legend)


def _loki_query(expr: str) -> loki.Dataquery:
    return loki.Dataquery().datasource(LOKI).editor_mode(LokiEditor.CODE).query_type("range").expr(expr)


def text_panel(content: str, height: int) -> text.Panel:
    """Return a panel with Markdown and without a frame."""
    return text.Panel().mode(TextMode.MARKDOWN).content(content).transparent(True).span(24).height(height)


def thresholds(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Return thresholds; each step is the lowest value of a color, None for the first one."""
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=lowest, color=color) for lowest, color in steps])
    )


def new_dashboard(
    title: str, uid: str, description: str, time_from: str, hide_service: VariableHide = VariableHide.DONT_HIDE
) -> dashboard.Dashboard:
    """Return an empty read-only dashboard with the variables and the menu that all dashboards have."""
    new = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        # Like the log lines.
        .timezone("utc")
        # A refresh would replace the exemplar under the pointer by another one.
        .refresh("")
        .time(time_from, "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    for name in ("prometheus", "loki"):
        new.with_variable(dashboard.DatasourceVariable(name).type(name).hide(VariableHide.HIDE_VARIABLE))
    # One menu with all of them, which keeps the service, the trace id and the time range.
    menu = dashboard.DashboardLink("Dashboards").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
    new.link(menu.include_vars(True).keep_time(True))
    return new.with_variable(_service_variable().hide(hide_service))


def _service_variable() -> dashboard.QueryVariable:
    """Return the variable that every dashboard has; a service is listed after its first request."""
    query = "label_values(http_request_duration_seconds_count, job)"
    new = dashboard.QueryVariable("service").label("service").datasource(PROMETHEUS)
    new.query({"query": query, "refId": "service"}).definition(query)
    return new.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).current(
        VariableOption(selected=True, text="api", value="api")
    )
