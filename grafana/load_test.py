"""The dashboard `load-test`: load runs as the clients and as the service measured them."""

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models.common import LineInterpolation
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import annotations, load_runs
from grafana.charts import NO_REQUESTS, bars, color, line_chart, stacked
from grafana.common import (
    BLUE,
    DARK_BLUE,
    GREY,
    OF_JOB,
    ORANGE,
    PURPLE,
    VERMILION,
    buckets,
    metric,
    new_dashboard,
    text_panel,
)

INTRODUCTION = """\
**A load run as its clients measured it, next to the measurements of the service.** \
`make load` starts a run and evaluates it. Click a run for its time range, and a trace id for the log lines of its \
request."""

_OF_LOAD = 'job="loadtest"'
_CLIENT, _SERVER = "load_request_duration_seconds", "http_request_duration_seconds"

# Each quantile has one color. The lines of the service are dashed.
_QUANTILES = {"p99": ("0.99", VERMILION), "p95": ("0.95", ORANGE), "p50": ("0.50", BLUE)}
_DASHED = DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [6, 6]})

_NO_LOAD = "No load run in this time."


def load_test() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        new_dashboard(
            "Load test",
            "load-test",
            "Load runs: verdicts, client and server latency, and the slowest requests.",
            "now-15m",
        )
        .annotation(annotations.runs())
        .annotation(annotations.verdicts())
        .annotation(annotations.incidents())
        .with_panel(text_panel(INTRODUCTION, 2))
        .with_panel(load_runs.runs())
        .with_panel(_latency())
        .with_panel(_rate())
        .with_panel(_difference())
        .with_panel(_failures())
        .with_panel(_concurrency())
        .with_panel(load_runs.slowest())
    )


def _latency() -> timeseries.Panel:
    panel = (
        line_chart("Latency at the client and at the server", unit="s")
        .description(
            "p50, p95 and p99. The dashed lines are of the service. In an open loop, the time of a client starts when "
            "its request was due. The difference is caused by the network, a queue or the load generator."
        )
        .axis_soft_max(0.1)
        .no_value(NO_REQUESTS)
        .span(24)
        .height(10)
    )
    for who, histogram, labels in (("client", _CLIENT, _OF_LOAD), ("server", _SERVER, OF_JOB)):
        for name, (quantile, value) in _QUANTILES.items():
            legend = f"{who} {name}"
            rates = buckets(histogram, matchers=labels)
            panel.with_target(metric(f"histogram_quantile({quantile}, {rates})", legend))
            panel.override_by_name(legend, [*color(value), *([_DASHED] if who == "server" else [])])
    return panel


def _rate() -> timeseries.Panel:
    # The lines cover each other if all is well, so their styles differ.
    width = "custom.lineWidth"
    planned = [
        DynamicConfigValue(id_val=width, value=0),
        DynamicConfigValue(id_val="custom.fillOpacity", value=35),
        DynamicConfigValue(id_val="custom.lineInterpolation", value=LineInterpolation.STEP_AFTER),
    ]
    return (
        line_chart("Requests: planned, sent and answered", unit="reqps")
        .description(
            "Requests per second: planned by the profile, completed by the clients, and answered by the service (for "
            "all its clients). Rates are a mean of 20 seconds, so they follow the plan with a delay."
        )
        .no_value(_NO_LOAD)
        .span(12)
        .height(8)
        .with_target(metric(f"sum(load_rate{{{_OF_LOAD}}})", "planned"))
        .with_target(metric(_per_second(f"{_CLIENT}_count", _OF_LOAD), "sent"))
        .with_target(metric(_per_second(f"{_SERVER}_count", OF_JOB), "answered"))
        .override_by_name("planned", [*color(GREY), *planned])
        .override_by_name("sent", [*color(BLUE), DynamicConfigValue(id_val=width, value=4)])
        .override_by_name("answered", [*color(VERMILION), DynamicConfigValue(id_val=width, value=1)])
    )


def _difference() -> timeseries.Panel:
    client, server = _mean(_CLIENT, _OF_LOAD), _mean(_SERVER, OF_JOB)
    return (
        stacked(line_chart("Client latency: server and difference (mean)", unit="s"))
        .description(
            "The mean duration at the client in two parts: the duration at the server, and the difference, caused by "
            "the network, queues and the load generator."
        )
        .no_value(_NO_LOAD)
        .axis_soft_max(0.1)
        .span(12)
        .height(8)
        .with_target(metric(f"{server} and {client} > 0", "server"))
        .with_target(metric(f"clamp_min({client} - {server}, 0)", "difference"))
        .override_by_name("server", color(BLUE))
        .override_by_name("difference", color(ORANGE))
    )


def _failures() -> timeseries.Panel:
    count = f'{_CLIENT}_count{{{_OF_LOAD}, status=~"5..|none"}}'
    # A rate misses the first event of a series.
    new = f"clamp_min({count} - ({count} offset ${{__interval}} or {count} * 0), 0)"
    return (
        bars(line_chart("Failed requests by status", unit="none"))
        .description("Requests with a response 5xx, or, as `none`, without a response.")
        .no_value("No failed requests in this time.")
        .interval("10s")
        .axis_soft_max(5)
        .span(12)
        .height(8)
        .with_target(metric(f"sum by (status) ({new}) > 0", "{{status}}"))
        .override_by_name("500", color(VERMILION))
        .override_by_name("502", color(PURPLE))
        .override_by_name("503", color(ORANGE))
        .override_by_name("504", color(DARK_BLUE))
        .override_by_name("none", color(GREY))
    )


def _concurrency() -> timeseries.Panel:
    return (
        line_chart("Users and requests in progress", unit="none")
        .description(
            "In a closed loop, each user sends one request after the other; an open loop has no users. In an open "
            "loop, the requests in progress increase while the service is slower than the load."
        )
        .no_value(_NO_LOAD)
        .decimals(0)
        .axis_soft_max(10)
        .span(12)
        .height(8)
        .with_target(metric(f"sum(load_users{{{_OF_LOAD}}})", "users"))
        .with_target(metric(f"sum(load_in_flight{{{_OF_LOAD}}})", "in progress"))
        .override_by_name("users", color(BLUE))
        .override_by_name("in progress", color(ORANGE))
    )


def _per_second(counter: str, labels: str) -> str:
    return f"sum(rate({counter}{{{labels}}}[$__rate_interval]))"


def _mean(histogram: str, labels: str) -> str:
    return f"{_per_second(f'{histogram}_sum', labels)} / {_per_second(f'{histogram}_count', labels)}"
