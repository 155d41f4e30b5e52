"""The dashboard `load-test`: what the clients of a run saw beside what the service saw, and what was said of runs."""

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models.common import LineInterpolation
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import load_runs, marks
from grafana.charts import GREY, NO_REQUESTS, PURPLE, SKY, bars, chart, color, stacked
from grafana.parts import BLUE, OF_JOB, ORANGE, VERMILION, board, metric, service_variable, words

INTRODUCTION = """\
**What the clients of a load run saw, beside what the service saw of the same requests.**
`make load` makes a run and judges it. Click a run for its time; below are its slowest and its failed requests, each \
one click from its log lines. [The service](/d/service/service)"""

_OF_LOAD = 'job="loadtest"'
_CLIENT, _SERVER = "load_request_duration_seconds", "http_request_duration_seconds"

# A quantile has one colour: the client's line is whole, and that of the service is dashed.
_QUANTILES = {"p99": ("0.99", VERMILION), "p95": ("0.95", ORANGE), "p50": ("0.50", BLUE)}
_DASHED = DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [6, 6]})

_NO_LOAD = "No load in this time."


def load_test() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        board(
            "Load test",
            "load-test",
            "Load runs: their verdicts, client beside server, and their slowest requests.",
            "now-15m",
        )
        .with_variable(service_variable())
        .annotation(marks.runs())
        .annotation(marks.verdicts())
        .annotation(marks.incidents())
        .with_panel(words(INTRODUCTION, 2))
        .with_panel(load_runs.runs())
        .with_panel(_latency())
        .with_panel(_rate())
        .with_panel(_parts())
        .with_panel(_failures())
        .with_panel(_concurrency())
        .with_panel(load_runs.worst())
    )


def _latency() -> timeseries.Panel:
    panel = (
        chart("Latency: client beside server (p50, p95, p99)", unit="s")
        .description(
            "What clients waited, and, dashed, what the service took, from the same kind of histogram. In an open loop "
            "a client waits from when its request was due. Where the lines part, the network, a queue or the "
            "generator adds the rest."
        )
        .axis_soft_max(0.1)
        .no_value(NO_REQUESTS)
        .span(24)
        .height(10)
    )
    for who, histogram, labels in (("client", _CLIENT, _OF_LOAD), ("server", _SERVER, OF_JOB)):
        for name, (quantile, paint) in _QUANTILES.items():
            legend = f"{who} {name}"
            rates = f"sum by (le) (rate({histogram}_bucket{{{labels}}}[$__rate_interval]))"
            panel.with_target(metric(f"histogram_quantile({quantile}, {rates})", legend))
            panel.override_by_name(legend, [*color(paint), *([_DASHED] if who == "server" else [])])
    return panel


def _rate() -> timeseries.Panel:
    # They lie upon each other while all is well, so each looks different.
    width = "custom.lineWidth"
    asked = [
        DynamicConfigValue(id_val=width, value=0),
        DynamicConfigValue(id_val="custom.fillOpacity", value=35),
        DynamicConfigValue(id_val="custom.lineInterpolation", value=LineInterpolation.STEP_AFTER),
    ]
    return (
        chart("Rate: asked for, sent, and answered", unit="reqps")
        .description(
            "Requests per second: what the profile asks for, what the clients sent and know the end of, and what the "
            "service answered, whoever asked it. A rate is a mean of 20 seconds, and so comes later than the profile."
        )
        .no_value(_NO_LOAD)
        .span(12)
        .height(8)
        .with_target(metric(f"sum(load_rate{{{_OF_LOAD}}})", "asked for"))
        .with_target(metric(_per_second(f"{_CLIENT}_count", _OF_LOAD), "sent"))
        .with_target(metric(_per_second(f"{_SERVER}_count", OF_JOB), "answered by the service"))
        .override_by_name("asked for", [*color(GREY), *asked])
        .override_by_name("sent", [*color(BLUE), DynamicConfigValue(id_val=width, value=4)])
        .override_by_name("answered by the service", [*color(VERMILION), DynamicConfigValue(id_val=width, value=1)])
    )


def _parts() -> timeseries.Panel:
    client, server = _mean(_CLIENT, _OF_LOAD), _mean(_SERVER, OF_JOB)
    return (
        stacked(chart("Where the client's time went (mean)", unit="s"))
        .description(
            "The mean of what clients waited, in two parts: what the service took for its requests, and what is left, "
            "which the network, queues and the generator add."
        )
        .no_value(_NO_LOAD)
        .axis_soft_max(0.1)
        .span(12)
        .height(8)
        # Without clients there is no time of theirs.
        .with_target(metric(f"{server} and {client} > 0", "server"))
        .with_target(metric(f"clamp_min({client} - {server}, 0)", "between client and server"))
        .override_by_name("server", color(BLUE))
        .override_by_name("between client and server", color(ORANGE))
    )


def _failures() -> timeseries.Panel:
    count = f'{_CLIENT}_count{{{_OF_LOAD}, status=~"5..|none"}}'
    # A rate would miss the first of a kind, whose counter begins with it.
    fresh = f"clamp_min({count} - ({count} offset ${{__interval}} or {count} * 0), 0)"
    return (
        bars(chart("Failures by status, as the clients saw them", unit="none"))
        .description("Requests answered with a 5xx, and, as `none`, those that no answer came for.")
        .no_value("No request of the load failed in this time.")
        .interval("10s")
        .axis_soft_max(5)
        .span(12)
        .height(8)
        .with_target(metric(f"sum by (status) ({fresh}) > 0", "{{status}}"))
        .override_by_name("500", color(VERMILION))
        .override_by_name("502", color(PURPLE))
        .override_by_name("503", color(ORANGE))
        .override_by_name("504", color(SKY))
        .override_by_name("none", color(GREY))
    )


def _concurrency() -> timeseries.Panel:
    return (
        chart("Users, and requests in flight", unit="none")
        .description(
            "In a closed loop so many users ask one after the other; an open loop has none. In flight is what waits "
            "for an answer: in an open loop it grows as long as the service is slower than the load."
        )
        .no_value(_NO_LOAD)
        .decimals(0)
        .axis_soft_max(10)
        .span(12)
        .height(8)
        .with_target(metric(f"sum(load_users{{{_OF_LOAD}}})", "users"))
        .with_target(metric(f"sum(load_in_flight{{{_OF_LOAD}}})", "in flight"))
        .override_by_name("users", color(BLUE))
        .override_by_name("in flight", color(ORANGE))
    )


def _per_second(counter: str, labels: str) -> str:
    return f"sum(rate({counter}{{{labels}}}[$__rate_interval]))"


def _mean(histogram: str, labels: str) -> str:
    return f"{_per_second(f'{histogram}_sum', labels)} / {_per_second(f'{histogram}_count', labels)}"
