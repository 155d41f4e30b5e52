"""What the dashboards are made of: queries, links and tables in the forms that were seen to work."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, loki, prometheus, table, text
from grafana_foundation_sdk.models.common import DataSourceRef, TableCellHeight
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    VariableOption,
    VariableRefresh,
)
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
# The moment of a table's row, as links know it.
ROW_TIME = "${__data.fields.Time.numeric}"


class Column(NamedTuple):
    """A column of a table: its title, and how its cells look."""

    title: str
    properties: Mapping[str, object] = {}


def variable(name: str) -> str:
    """Return the value of a variable for a quoted string of LogQL or PromQL.

    Links and people may put anything into a variable. Encoded, a valid value stays as it is, and nothing can end the
    quotes.
    """
    return f"${{{name}:percentencode}}"


#: The streams of the chosen service. Before the first request there is none to choose: Loki refuses a selector that may
#: be empty, and finds nothing with this one.
OF_SERVICE = f'service_name=~".+", service_name="{variable("service")}"'

#: Its finished requests. Debug lines are most of the lines, and none of these.
FINISHED = f'{{{OF_SERVICE}, level!="debug"}} |= `"event":"request.finished"`'

# What Loki knows of a line without reading it.
_LABELS = frozenset({"service_name", "instance", "level", "trace_id"})

#: A column of times: what is seen together is of one day.
CLOCK: Mapping[str, object] = {"unit": "time:HH:mm:ss.SSS", "custom.width": 110}

#: A column of durations. What a request did not do took no time: its line has no such field, and Loki's is then empty.
MILLISECONDS: Mapping[str, object] = {
    "unit": "ms",
    "custom.width": 85,
    "mappings": [{"type": "value", "options": {"0": {"index": 0, "text": "-"}}}],
}


def links(title: str, url: str) -> dict[str, object]:
    """Return the property of a column whose cells lead somewhere."""
    return {"links": [{"title": title, "url": url}]}


def metric(expr: str, legend: str, *, dots: bool = False) -> prometheus.Dataquery:
    """Return a query of a range; with `dots`, its exemplars are shown (of a panel's first query only)."""
    query = prometheus.Dataquery().datasource(PROMETHEUS).editor_mode(PrometheusEditor.CODE)
    return query.expr(expr).legend_format(legend).range().exemplar(dots)


def lines(expr: str, most: int, direction: LokiQueryDirection = LokiQueryDirection.BACKWARD) -> loki.Dataquery:
    """Return a query for lines."""
    return _of_loki(expr).max_lines(most).direction(direction)


def counted(expr: str, legend: str) -> loki.Dataquery:
    """Return a query that counts lines over time."""
    return _of_loki(expr).legend_format(legend)


def _of_loki(expr: str) -> loki.Dataquery:
    return loki.Dataquery().datasource(LOKI).editor_mode(LokiEditor.CODE).query_type("range").expr(expr)


def parsed(columns: Mapping[str, Column]) -> str:
    """Return the stage of a query that reads a table's columns from the lines, as far as they are no labels."""
    return f"json {', '.join(_field(name) for name in columns if name not in _LABELS)}"


def _field(column: str) -> str:
    # The lines' own times: with `keepTime`, an empty table would be a column without rows that does not say why.
    return "timestamp" if column == "Time" else column


def words(content: str, height: int) -> text.Panel:
    """Return a panel of Markdown without a frame."""
    return text.Panel().mode(TextMode.MARKDOWN).content(content).transparent(True).span(24).height(height)


def table_of_lines(
    expr: str, columns: Mapping[str, Column], most: int, extra: Sequence[DataTransformerConfig] = ()
) -> table.Panel:
    """Return a table whose columns are labels of the lines that `expr` finds, which has `parsed` them."""
    panel = table.Panel().datasource(LOKI).with_target(lines(expr, most)).cell_height(TableCellHeight.SM)
    panel.with_transformation(extracted({name: _field(name) for name in columns}))
    panel.with_transformation(converted("time", "Time"))
    for transformation in extra:
        panel.with_transformation(transformation)
    panel.with_transformation(in_order(list(columns)))
    for name, column in columns.items():
        # A cell without a value would show the text of the empty table.
        properties = {"displayName": column.title, "noValue": "-", **column.properties}
        panel.override_by_name(name, [DynamicConfigValue(id_val=key, value=value) for key, value in properties.items()])
    return panel


def extracted(fields: Mapping[str, str]) -> DataTransformerConfig:
    """Make labels of the lines the fields of rows; `fields` are their new names, and the old ones."""
    paths = [{"path": label, "alias": name} for name, label in fields.items()]
    options = {"source": "labels", "format": "json", "jsonPaths": paths, "replace": True}
    return DataTransformerConfig(id_val="extractFields", options=options)


def in_order(fields: Sequence[str]) -> DataTransformerConfig:
    """Put the fields into an order."""
    order = {name: index for index, name in enumerate(fields)}
    return DataTransformerConfig(
        id_val="organize", options={"indexByName": order, "excludeByName": {}, "renameByName": {}}
    )


def converted(to: str, *fields: str) -> DataTransformerConfig:
    """Make fields, which are texts in lines, a "number" or a "time"."""
    conversions = [{"targetField": field, "destinationType": to} for field in fields]
    return DataTransformerConfig(id_val="convertFieldType", options={"conversions": conversions, "fields": {}})


def largest_first(field: str) -> DataTransformerConfig:
    """Sort the rows by a number."""
    return DataTransformerConfig(id_val="sortBy", options={"fields": {}, "sort": [{"field": field, "desc": True}]})


def service_variable() -> dashboard.QueryVariable:
    """Return the variable that every dashboard has; a service shows up as soon as it has requests."""
    query = "label_values(http_request_duration_seconds_count, job)"
    variable = dashboard.QueryVariable("service").label("service").datasource(PROMETHEUS)
    variable.query({"query": query, "refId": "service"}).definition(query)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).current(
        VariableOption(selected=True, text="api", value="api")
    )
