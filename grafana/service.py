"""The home dashboard `service`: what is wrong, which requests are affected, and why."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models.dashboard import GridPos

from grafana import annotations, latency, requests, resources, status, traffic, why
from grafana.common import TRACE_LOGS, new_dashboard, text_panel, variable

INTRODUCTION = f"""\
**From a latency spike to the log lines of the requests that caused it: click a dot.** \
Or paste a trace id (the `X-Trace-ID` of a response) into the box above, press Enter, and \
[show its lines]({TRACE_LOGS}?var-trace_id={variable("trace_id")}&from=now-1h&to=now)."""


_COLUMNS = 24  # of Grafana's grid


def service() -> dashboard.Dashboard:
    """Build the dashboard."""
    new = (
        new_dashboard(
            "Service", "service", "From a latency spike to the log lines of the requests that caused it.", "now-15m"
        )
        .with_variable(dashboard.TextBoxVariable("trace_id").label("trace id").default_value(""))
        .annotation(annotations.incidents())
        .annotation(annotations.explanations().hide(True))
        .annotation(annotations.alerts().hide(True))
        .with_panel(text_panel(INTRODUCTION, 2))
    )
    for tile in status.tiles():
        new.with_panel(tile)
    for panel in (
        latency.percentiles(),
        latency.latency_heatmap(),
        latency.slow_requests(),
        why.why(),
        traffic.routes(),
        requests.slowest(),
        requests.failed(),
        latency.breakdown(),
        traffic.errors(),
        traffic.rate(),
        traffic.client_errors(),
        requests.incidents(),
        requests.volume(),
        requests.log_lines(),
    ):
        new.with_panel(panel)
    return new.with_row(_collapsed("Replicas and resources", resources.panels()))


def _collapsed(title: str, panels: Sequence[timeseries.Panel]) -> dashboard.Row:
    """Return a collapsed row; Grafana does not position the panels in it."""
    row, x, y = dashboard.Row(title), 0, 1
    for panel in panels:
        position = panel.build().grid_pos or GridPos()
        if x + position.w > _COLUMNS:
            x, y = 0, y + position.h
        row.with_panel(panel.grid_pos(GridPos(x=x, y=y, w=position.w, h=position.h)))
        x += position.w
    return row
