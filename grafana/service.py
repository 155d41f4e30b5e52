"""The dashboard `service`: where the spike is seen, and where the walk begins."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import VariableOption

from grafana import latency, marks, requests, traffic
from grafana.alerts import alerts_as_marks
from grafana.parts import LOAD_TEST, TRACE_LOGS, board, service_variable, words

INTRODUCTION = f"""\
**A dot is one request. Click it, and read that request's log lines.**
The latency below is a histogram whose exemplars carry trace ids, and the lines of all services carry the same ids: \
no tracing backend is involved.
You have an id, from the `X-Trace-ID` of a response? Paste it into the box above, press Enter, and \
[show its lines]({TRACE_LOGS}?var-trace_id=${{trace_id:percentencode}}&from=now-1h&to=now) · \
[make other load](http://localhost:8089) (port 8089) · \
[load runs and their verdicts]({LOAD_TEST})"""


def service() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        board(
            "Service",
            "service",
            "From a latency spike to the log lines of the requests that caused it.",
            "now-15m",
        )
        .with_variable(service_variable())
        .with_variable(
            dashboard.CustomVariable("slow_ms")
            .label("slow is over (ms)")
            .values("100,250,500,1000,2000")
            .current(VariableOption(selected=True, text="500", value="500"))
        )
        .with_variable(dashboard.TextBoxVariable("trace_id").label("trace id").default_value(""))
        .annotation(marks.incidents())
        .annotation(marks.runs())
        .annotation(marks.verdicts())
        .annotation(alerts_as_marks())
        .with_panel(words(INTRODUCTION, 3))
        .with_panel(latency.latency())
        .with_panel(latency.slow_dots())
        .with_panel(latency.breakdown())
        .with_panel(traffic.rate())
        .with_panel(traffic.errors())
        .with_panel(requests.slowest())
        .with_panel(requests.failed())
        .with_panel(requests.incidents())
        .with_panel(latency.spread())
        .with_panel(traffic.rate_of_replicas())
        .with_panel(traffic.latency_of_replicas())
        .with_panel(traffic.lag_of_replicas())
    )
