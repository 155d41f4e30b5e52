"""Annotations: incidents, their explanations, alerts, load runs and verdicts, at their times on every chart."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.builders import loki as loki_builder
from grafana_foundation_sdk.builders import prometheus as prometheus_builder

from grafana.common import (
    BLUE,
    GREY,
    LOAD_TEST,
    LOKI,
    OF_JOB,
    ORANGE,
    PROMETHEUS,
    PURPLE,
    RUN_EVENTS,
    RUN_TIME_RANGE,
    SLO_DASHBOARD,
    VERMILION,
    variable,
)
from grafana.why import EXPLANATIONS


def incidents() -> dashboard.AnnotationQuery:
    """Return the times in which faults were active."""
    return _of_metric("Incidents", f"max by (fault) (fault_active{{{OF_JOB}}}) > 0", VERMILION, "Fault {{fault}}")


def explanations() -> dashboard.AnnotationQuery:
    """Return the explanations of incidents, at the ends of these."""
    expr = f"{EXPLANATIONS} | json field, values, slow_with | label_format cause=`{{{{.field}}}} {{{{.values}}}}`"
    return (
        _of_lines("Explanations", expr)
        .icon_color(PURPLE)
        .title_format("Why? {{cause}}")
        .text_format("{{slow_with}} of the slow requests")
    )


def alerts() -> dashboard.AnnotationQuery:
    """Return the times in which alerts of the service were firing."""
    new = _of_metric("Alerts", f'ALERTS{{alertstate="firing", {OF_JOB}}}', ORANGE, "{{alertname}}")
    # Grafana replaces the labels of the series here, but no variables.
    return new.text_format(f'<a href="{SLO_DASHBOARD}?var-service={{{{job}}}}">What to do</a>')


def runs() -> dashboard.AnnotationQuery:
    """Return the times of load runs, whichever service they load."""
    return _of_metric("Load runs", 'sum(load_rate{job="loadtest"}) > 0', GREY, "Load run")


def verdicts() -> dashboard.AnnotationQuery:
    """Return the verdicts on measured runs, at the ends of the runs."""
    # Grafana shows the name of a label that is empty.
    reason = "label_format reason=`{{if .why}}{{.why}}{{else}}It met all its goals.{{end}}`"
    # Grafana replaces variables in the query, but not in the text.
    selected = f"label_format selected=`{variable('service')}`"
    found = f'{RUN_EVENTS} |= `"event":"run.verdict"` | json run, verdict, why, from, to'
    new = _of_lines("Verdicts", f"{found} | {reason} | {selected} | {RUN_TIME_RANGE}")
    run = f"{LOAD_TEST}?var-service={{{{selected}}}}&from={{{{from}}}}&to={{{{to}}}}"
    new.icon_color(BLUE).title_format("{{verdict}}: {{run}}").tag_keys("verdict")
    return new.text_format(f'{{{{reason}}}} <a href="{run}">The run</a>')


def _of_metric(name: str, expr: str, color: str, title: str) -> dashboard.AnnotationQuery:
    # Grafana joins points with this distance to one region.
    target = prometheus_builder.Dataquery().expr(expr).range().interval("15s").ref_id("Anno")
    new = dashboard.AnnotationQuery().name(name).datasource(PROMETHEUS).enable(True).icon_color(color)
    return new.expr(expr).target(target).title_format(title)


def _of_lines(name: str, expr: str) -> dashboard.AnnotationQuery:
    target = loki_builder.Dataquery().expr(expr).query_type("range").ref_id("Anno")
    # Grafana needs the query twice: `expr` is for the editor, `target` is executed.
    return dashboard.AnnotationQuery().name(name).datasource(LOKI).enable(True).expr(expr).target(target)
