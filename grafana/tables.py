"""Tables: their columns, and how the fields of lines become those."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

from grafana.parts import LOKI, lines

# The moment of a table's row, as links know it.
ROW_TIME = "${__data.fields.Time.numeric}"

# What Loki knows of a line without reading it.
_LABELS = frozenset({"service_name", "instance", "level", "trace_id"})


class Column(NamedTuple):
    """A column of a table: its title, and how its cells look."""

    title: str
    properties: Mapping[str, object] = {}


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


def parsed(columns: Mapping[str, Column]) -> str:
    """Return the stage of a query that reads a table's columns from the lines, as far as they are no labels."""
    return f"json {', '.join(_field(name) for name in columns if name not in _LABELS)}"


def _field(column: str) -> str:
    # The lines' own times: with `keepTime`, an empty table would be a column without rows that does not say why.
    return "timestamp" if column == "Time" else column


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
    # A cell without a value would show the text of the empty table.
    return titled(panel, columns, {"noValue": "-"})


def titled(panel: table.Panel, columns: Mapping[str, Column], usual: Mapping[str, object] = {}) -> table.Panel:
    """Give each column its title and its looks; `usual` is what all have that do not say otherwise."""
    for name, column in columns.items():
        properties = {"displayName": column.title, **usual, **column.properties}
        panel.override_by_name(name, [DynamicConfigValue(id_val=key, value=value) for key, value in properties.items()])
    return panel


def extracted(fields: Mapping[str, str]) -> DataTransformerConfig:
    """Make labels of the lines the fields of rows; `fields` are their new names, and the old ones."""
    paths = [{"path": label, "alias": name} for name, label in fields.items()]
    options = {"source": "labels", "format": "json", "jsonPaths": paths, "replace": True}
    return DataTransformerConfig(id_val="extractFields", options=options)


def in_order(fields: Sequence[str], without: Sequence[str] = ()) -> DataTransformerConfig:
    """Put the fields into an order, and leave some out."""
    order = {name: index for index, name in enumerate(fields)}
    options = {"indexByName": order, "excludeByName": dict.fromkeys(without, True), "renameByName": {}}
    return DataTransformerConfig(id_val="organize", options=options)


def converted(to: str, *fields: str) -> DataTransformerConfig:
    """Make fields, which are texts in lines, a "number" or a "time"."""
    conversions = [{"targetField": field, "destinationType": to} for field in fields]
    return DataTransformerConfig(id_val="convertFieldType", options={"conversions": conversions, "fields": {}})


def largest_first(field: str) -> DataTransformerConfig:
    """Sort the rows by a number."""
    return DataTransformerConfig(id_val="sortBy", options={"fields": {}, "sort": [{"field": field, "desc": True}]})
