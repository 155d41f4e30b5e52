"""The marks on a dashboard's charts: when the load ran, and when the fault lab made an incident."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.builders import loki as loki_builder

from grafana.charts import GREY
from grafana.parts import LOKI, OF_SERVICE, VERMILION


def incidents() -> dashboard.AnnotationQuery:
    """Build the marks of faults that began and ended."""
    expr = (
        f'{{{OF_SERVICE}, level="warning"}} |~ `"event":"fault.(started|ended)"`'
        " | json event, fault, fault_users, fault_route"
        " | label_format whom=`{{if .fault_users}}users {{.fault_users}}{{else}}all users{{end}}`"
        " | label_format where=`{{if .fault_route}}at {{.fault_route}}{{else}}everywhere{{end}}`"
    )
    marks = _of_lines("Incidents", expr).icon_color(VERMILION)
    return marks.title_format("{{event}}").text_format("{{fault}} for {{whom}} {{where}}").tag_keys("fault")


def runs() -> dashboard.AnnotationQuery:
    """Build the marks of load runs; they are the load's lines, whichever service is looked at."""
    expr = '{service_name="loadtest"} |~ `"event":"run.(started|stopped)"` | json event, run'
    return _of_lines("Load runs", expr).icon_color(GREY).title_format("{{event}}").text_format("{{run}}")


def _of_lines(name: str, expr: str) -> dashboard.AnnotationQuery:
    target = loki_builder.Dataquery().expr(expr).query_type("range").ref_id("Anno")
    # Grafana needs the query twice: one is what the editor shows, the other one is asked.
    return dashboard.AnnotationQuery().name(name).datasource(LOKI).enable(True).expr(expr).target(target)
