"""Tables of log lines: columns, and transformations from fields of lines to cells."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

from grafana.common import AROUND, LOKI, TRACE_LOGS, lines

#: The time of a row in a link, in milliseconds.
ROW_TIME = "${__data.fields.Time.numeric}"

#: Opens the lines of one request at its time; the row has the columns `Time` and `trace_id`.
TRACE_LINK = f"{TRACE_LOGS}?var-trace_id=${{__data.fields.trace_id}}&{AROUND.format(ROW_TIME)}"

# Labels and structured metadata, which are not parsed from the line.
_LABELS = frozenset({"service_name", "instance", "level", "trace_id"})


def if_empty(text: str) -> str:
    """Return the text of a panel without rows, which Grafana shows after a failed query, too."""
    return f"{text} (If the panel has a red symbol, its query failed.)"


class Column(NamedTuple):
    """A column of a table: its title and its properties."""

    title: str
    properties: Mapping[str, object] = {}


def links(title: str, url: str) -> dict[str, object]:
    """Return the property of a column whose cells are links."""
    return {"links": [{"title": title, "url": url}]}


#: Times of one day.
CLOCK: Mapping[str, object] = {"unit": "time:HH:mm:ss.SSS", "custom.width": 110}

#: Durations. A line has no field for a part that took no time, and Loki's label is then empty.
MILLISECONDS: Mapping[str, object] = {
    "unit": "ms",
    "custom.width": 85,
    "mappings": [{"type": "value", "options": {"0": {"index": 0, "text": "-"}}}],
}

TRACE_ID = Column("Trace id: its lines", {**links("Lines of this request", TRACE_LINK), "custom.width": 290})
USER = Column("User", {"custom.width": 70})
STATUS = Column("Status", {"custom.width": 70})
METHOD = Column("Method", {"custom.width": 75})


def parse(columns: Mapping[str, Column]) -> str:
    """Return the query stage that reads the columns from the lines."""
    return f"json {', '.join(_field(name) for name in columns if name not in _LABELS)}"


def _field(column: str) -> str:
    # The time in the line: with `keepTime`, a table without rows would show a column instead of its text.
    return "timestamp" if column == "Time" else column


def table_of_lines(
    expr: str, columns: Mapping[str, Column], max_lines: int, extra: Sequence[DataTransformerConfig] = ()
) -> table.Panel:
    """Return a table with a row for each line of a query that contains `parse(columns)`."""
    panel = table.Panel().datasource(LOKI).with_target(lines(expr, max_lines)).cell_height(TableCellHeight.SM)
    panel.with_transformation(extract_fields({name: _field(name) for name in columns}))
    panel.with_transformation(convert("time", "Time"))
    for transformation in extra:
        panel.with_transformation(transformation)
    panel.with_transformation(organize(list(columns)))
    # An empty cell would show the text of the empty table.
    return set_columns(panel, columns, {"noValue": "-"})


def set_columns(panel: table.Panel, columns: Mapping[str, Column], defaults: Mapping[str, object] = {}) -> table.Panel:
    """Set titles and properties; `defaults` are the properties of all columns."""
    for name, column in columns.items():
        properties = {"displayName": column.title, **defaults, **column.properties}
        panel.override_by_name(name, [DynamicConfigValue(id_val=key, value=value) for key, value in properties.items()])
    return panel


def extract_fields(fields: Mapping[str, str]) -> DataTransformerConfig:
    """Convert labels of lines to fields; `fields` are the new names and the labels."""
    paths = [{"path": label, "alias": name} for name, label in fields.items()]
    options = {"source": "labels", "format": "json", "jsonPaths": paths, "replace": True}
    return DataTransformerConfig(id_val="extractFields", options=options)


def organize(fields: Sequence[str], hidden: Sequence[str] = ()) -> DataTransformerConfig:
    """Order the fields, and remove some."""
    order = {name: index for index, name in enumerate(fields)}
    options = {"indexByName": order, "excludeByName": dict.fromkeys(hidden, True), "renameByName": {}}
    return DataTransformerConfig(id_val="organize", options=options)


def convert(to: str, *fields: str) -> DataTransformerConfig:
    """Convert text fields to a "number" or a "time"."""
    conversions = [{"targetField": field, "destinationType": to} for field in fields]
    return DataTransformerConfig(id_val="convertFieldType", options={"conversions": conversions, "fields": {}})


def sort(field: str, *, descending: bool = True) -> DataTransformerConfig:
    """Sort the rows by a field."""
    by = {"field": field, "desc": True} if descending else {"field": field}
    return DataTransformerConfig(id_val="sortBy", options={"fields": {}, "sort": [by]})
