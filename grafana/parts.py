"""What the dashboards are made of: colours, links, queries and variables in the forms that were seen to work."""

from grafana_foundation_sdk.builders import dashboard, loki, prometheus, text
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh
from grafana_foundation_sdk.models.loki import LokiQueryDirection
from grafana_foundation_sdk.models.loki import QueryEditorMode as LokiEditor
from grafana_foundation_sdk.models.prometheus import QueryEditorMode as PrometheusEditor
from grafana_foundation_sdk.models.text import TextMode

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
LOKI = DataSourceRef(type_val="loki", uid="loki")

# From the palette of Okabe and Ito, which colour-blind people can tell apart.
ORANGE, BLUE, GREEN, VERMILION = "#E69F00", "#56B4E9", "#009E73", "#D55E00"

# `time` and `time.window` need no arithmetic, which links cannot do: five minutes on both sides of a moment.
AROUND = "time={}&time.window=600000"
TRACE_LOGS = "/d/trace-logs/trace-logs"
SERVICE = "/d/service/service"
LOAD_TEST = "/d/load-test/load-test"


def variable(name: str) -> str:
    """Return the value of a variable for a quoted string of LogQL or PromQL.

    Links and people may put anything into a variable. Encoded, a valid value stays as it is, and nothing can end the
    quotes.
    """
    return f"${{{name}:percentencode}}"


#: The series of the chosen service.
OF_JOB = f'job="{variable("service")}"'

#: The streams of the chosen service. Before the first request there is none to choose: Loki refuses a selector that may
#: be empty, and finds nothing with this one.
OF_SERVICE = f'service_name=~".+", service_name="{variable("service")}"'

#: Its finished requests. Debug lines are most of the lines, and none of these.
FINISHED = f'{{{OF_SERVICE}, level!="debug"}} |= `"event":"request.finished"`'

#: The lines about load runs, whichever service they load.
TELLS_OF_RUNS = '{service_name="loadtest"}'

#: Gives a verdict's time 15 seconds on both sides, in which its last samples are; links can do no arithmetic.
WITH_EDGES = "label_format from=`{{sub .from 15000}}`, to=`{{add .to 15000}}`"


def metric(expr: str, legend: str, *, dots: bool = False) -> prometheus.Dataquery:
    """Return a query of a range; with `dots`, its exemplars are shown (of a panel's first query only)."""
    query = prometheus.Dataquery().datasource(PROMETHEUS).editor_mode(PrometheusEditor.CODE)
    return query.expr(expr).legend_format(legend).range().exemplar(dots)


def buckets(histogram: str = "http_request_duration_seconds", by: str = "le", only: str = "") -> str:
    """Return the rates of a histogram's buckets; `only` are further matchers."""
    return f"sum by ({by}) (rate({histogram}_bucket{{{OF_JOB}{only}}}[$__rate_interval]))"


def lines(expr: str, most: int, direction: LokiQueryDirection = LokiQueryDirection.BACKWARD) -> loki.Dataquery:
    """Return a query for lines."""
    return _of_loki(expr).max_lines(most).direction(direction)


def counted(expr: str, legend: str) -> loki.Dataquery:
    """Return a query that counts lines over time."""
    return _of_loki(expr).legend_format(legend)


def _of_loki(expr: str) -> loki.Dataquery:
    return loki.Dataquery().datasource(LOKI).editor_mode(LokiEditor.CODE).query_type("range").expr(expr)


def words(content: str, height: int) -> text.Panel:
    """Return a panel of Markdown without a frame."""
    return text.Panel().mode(TextMode.MARKDOWN).content(content).transparent(True).span(24).height(height)


def board(title: str, uid: str, description: str, since: str) -> dashboard.Dashboard:
    """Begin a dashboard as all of them are; nobody changes it, and its times are those of the lines."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["spike-to-log"])
        .readonly()
        .timezone("utc")
        # No refresh: it would swap the exemplar under the pointer for another one.
        .refresh("")
        .time(since, "now")
    )


def service_variable() -> dashboard.QueryVariable:
    """Return the variable that every dashboard has; a service shows up as soon as it has requests."""
    query = "label_values(http_request_duration_seconds_count, job)"
    variable = dashboard.QueryVariable("service").label("service").datasource(PROMETHEUS)
    variable.query({"query": query, "refId": "service"}).definition(query)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).current(
        VariableOption(selected=True, text="api", value="api")
    )
