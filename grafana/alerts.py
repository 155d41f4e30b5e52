"""Tables of alerts: those that are firing, and those of the time range."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import prometheus, table
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.common import AROUND, PROMETHEUS, SERVICE, SLO_DASHBOARD, metric
from grafana.runbooks import PANELS
from grafana.tables import Column, convert, links, organize, set_columns, sort

# The start of each alert that is firing: Prometheus has seconds, links and columns need milliseconds. Alerts that wait
# for their `for` have a start, too.
_STARTED = (
    f'1000 * ALERTS_FOR_STATE{{alertname=~"{"|".join(PANELS)}"}}'
    ' and ignoring (alertstate) ALERTS{alertstate="firing"}'
)
_SAME_SERVICE = "var-service=${__data.fields.job}"
_RUNBOOK = f"{SLO_DASHBOARD}?{_SAME_SERVICE}&viewPanel=${{__data.fields.runbook}}"
_SPIKE = f"{SERVICE}?{_SAME_SERVICE}&{AROUND.format('${__value.numeric}')}"
_TIMESTAMP = {"unit": "dateTimeAsIso", "custom.width": 180}
_COLUMNS = {
    "Value": Column("Since: the spike", {**links("The spike", _SPIKE), **_TIMESTAMP}),
    "alertname": Column("Alert: what to do", {**links("Runbook", _RUNBOOK), "custom.width": 240}),
    "job": Column("Service"),
}


def firing() -> table.Panel:
    """Return the table of the alerts of all services that are firing."""
    query = metric(_with_runbook(_STARTED), "").instant().format(PromQueryFormat.TABLE)
    return (
        _table(query, [convert("time", "Value")], {**_COLUMNS, "slo": Column("Objective")}, ["Time", "severity"])
        .title("Alerts firing now")
        .description(
            "Of all services, at the end of the time range. Click an alert for its runbook, and its time for the "
            "latency and errors of the service at that time."
        )
        .no_value("No alert is firing.")
        .height(5)
    )


def fired() -> table.Panel:
    """Return the table of the alerts that fired in the time range."""
    query = metric(_with_runbook(_STARTED), "").format(PromQueryFormat.TABLE)
    kept = {name: {"aggregations": [], "operation": "groupby"} for name in ("Value", "alertname", "job", "runbook")}
    grouped = {**kept, "Time": {"aggregations": ["max"], "operation": "aggregate"}}
    transformations = [
        DataTransformerConfig(id_val="groupBy", options={"fields": grouped}),
        sort("Value"),
        convert("time", "Value", "Time (max)"),
    ]
    return (
        _table(query, transformations, {**_COLUMNS, "Time (max)": Column("Last seen", _TIMESTAMP)}, [])
        .title("Alerts in the time range")
        .description("Of all services, with the time of the last evaluation in which each alert was firing.")
        .no_value("No alert fired in this time.")
        .height(7)
    )


def _table(
    query: prometheus.Dataquery,
    transformations: Sequence[DataTransformerConfig],
    columns: Mapping[str, Column],
    hidden: Sequence[str],
) -> table.Panel:
    panel = table.Panel().datasource(PROMETHEUS).with_target(query).cell_height(TableCellHeight.SM).span(24)
    for transformation in (*transformations, organize(list(columns), hidden)):
        panel.with_transformation(transformation)
    # Only links need it.
    return set_columns(panel, columns).override_by_name(
        "runbook", [DynamicConfigValue(id_val="custom.hideFrom.viz", value=True)]
    )


def _with_runbook(expr: str) -> str:
    """Add the id of the panel with the runbook as a label."""
    for alert, panel in PANELS.items():
        expr = f'label_replace({expr}, "runbook", "{panel}", "alertname", "{alert}")'
    return expr
