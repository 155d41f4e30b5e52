"""Prometheus's alerts in Grafana: those that fire, those that fired, and marks on any dashboard."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard, prometheus, table
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.parts import AROUND, OF_JOB, ORANGE, PROMETHEUS, SERVICE, metric
from grafana.runbooks import PANELS
from grafana.tables import Column, converted, in_order, largest_first, links, titled

SLO = "/d/slo/slo"

# Prometheus gives each alert the time at which it began, in seconds; links and columns want milliseconds. An alert that
# waits for its `for` has this time, too, but does not fire yet.
_SHIPPED = f'alertname=~"{"|".join(PANELS)}"'
_BEGAN = f'1000 * ALERTS_FOR_STATE{{{_SHIPPED}}} and ignoring (alertstate) ALERTS{{alertstate="firing"}}'
_HERE = "var-service=${__data.fields.job}"
_RUNBOOK = f"{SLO}?{_HERE}&viewPanel=${{__data.fields.runbook}}"
_SPIKE = f"{SERVICE}?{_HERE}&{AROUND.format('${__value.numeric}')}"
_MOMENT = {"unit": "dateTimeAsIso", "custom.width": 180}
_COLUMNS = {
    "Value": Column("Since: the spike", {**links("The spike", _SPIKE), **_MOMENT}),
    "alertname": Column("Alert: what to do", {**links("Runbook", _RUNBOOK), "custom.width": 240}),
    "job": Column("Service"),
}


def alerts_as_marks() -> dashboard.AnnotationQuery:
    """Return the times in which alerts of the chosen service were firing, for any dashboard."""
    expr = f'ALERTS{{alertstate="firing", {OF_JOB}}}'
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color(ORANGE)
        .expr(expr)
        .target(prometheus.Dataquery().expr(expr).range().interval("15s").ref_id("Anno"))
        .title_format("{{alertname}}")
        # Grafana fills in no variables where it shows a mark, but the mark's own labels.
        .text_format(f'<a href="{SLO}?var-service={{{{job}}}}">What to do</a>')
    )


def firing() -> table.Panel:
    """Return the table of the alerts of all services that fire now."""
    query = metric(_with_runbook(_BEGAN), "").instant().format(PromQueryFormat.TABLE)
    return (
        _table(query, [converted("time", "Value")], {**_COLUMNS, "slo": Column("Objective")}, ["Time", "severity"])
        .title("Alerts firing now")
        .description(
            "Of all services, at the end of the time range. Click an alert for its runbook, and the time for the "
            "service's latency and errors around it."
        )
        .no_value("No alert is firing.")
        .height(5)
    )


def fired() -> table.Panel:
    """Return the table of the alerts that fired in the time range."""
    query = metric(_with_runbook(_BEGAN), "").format(PromQueryFormat.TABLE)
    kept = {name: {"aggregations": [], "operation": "groupby"} for name in ("Value", "alertname", "job", "runbook")}
    grouped = {**kept, "Time": {"aggregations": ["max"], "operation": "aggregate"}}
    transformations = [
        DataTransformerConfig(id_val="groupBy", options={"fields": grouped}),
        largest_first("Value"),
        converted("time", "Value", "Time (max)"),
    ]
    return (
        _table(query, transformations, {**_COLUMNS, "Time (max)": Column("Last seen", _MOMENT)}, [])
        .title("Alerts in this time")
        .description("Of all services: when each began, and when it was last seen.")
        .no_value("No alert fired in this time.")
        .height(7)
    )


def _table(
    query: prometheus.Dataquery,
    transformations: Sequence[DataTransformerConfig],
    columns: Mapping[str, Column],
    unseen: Sequence[str],
) -> table.Panel:
    panel = table.Panel().datasource(PROMETHEUS).with_target(query).cell_height(TableCellHeight.SM).span(24)
    for transformation in (*transformations, in_order(list(columns), unseen)):
        panel.with_transformation(transformation)
    # Links need it, people do not.
    return titled(panel, columns).override_by_name(
        "runbook", [DynamicConfigValue(id_val="custom.hideFrom.viz", value=True)]
    )


def _with_runbook(expr: str) -> str:
    """Give each alert the panel of its runbook as a label."""
    for alert, panel in PANELS.items():
        expr = f'label_replace({expr}, "runbook", "{panel}", "alertname", "{alert}")'
    return expr
