"""The marks on a dashboard's charts: when the load ran and what was said of it, and when there was an incident."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.builders import loki as loki_builder

from grafana.charts import GREY
from grafana.parts import BLUE, LOAD_TEST, LOKI, OF_SERVICE, TELLS_OF_RUNS, VERMILION, WITH_EDGES, variable


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
    expr = f'{TELLS_OF_RUNS} |~ `"event":"run.(started|stopped)"` | json event, run'
    return _of_lines("Load runs", expr).icon_color(GREY).title_format("{{event}}").text_format("{{run}}")


def verdicts() -> dashboard.AnnotationQuery:
    """Build the marks of what was said of measured runs, at their ends; each leads to its run."""
    # Grafana shows the name of a label that is empty.
    said = "label_format said=`{{if .why}}{{.why}}{{else}}It kept what it had to.{{end}}`"
    # Nor does it fill in variables where it shows a mark, but in what it asks.
    chosen = f"label_format chosen=`{variable('service')}`"
    found = f'{TELLS_OF_RUNS} |= `"event":"run.verdict"` | json run, verdict, why, from, to'
    expr = f"{found} | {said} | {chosen} | {WITH_EDGES}"
    here = f"{LOAD_TEST}?var-service={{{{chosen}}}}&from={{{{from}}}}&to={{{{to}}}}"
    marks = _of_lines("Verdicts", expr).icon_color(BLUE).title_format("{{verdict}}: {{run}}")
    return marks.text_format(f'{{{{said}}}} <a href="{here}">The run</a>').tag_keys("verdict")


def _of_lines(name: str, expr: str) -> dashboard.AnnotationQuery:
    target = loki_builder.Dataquery().expr(expr).query_type("range").ref_id("Anno")
    # Grafana needs the query twice: one is what the editor shows, the other one is asked.
    return dashboard.AnnotationQuery().name(name).datasource(LOKI).enable(True).expr(expr).target(target)
