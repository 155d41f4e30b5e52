"""The dashboard `slo`: what users may expect, how fast that is used up, and what to do about it."""

from grafana_foundation_sdk.builders import common, dashboard, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    ScaleDistribution,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, Threshold, ThresholdsMode

from grafana.alerts import fired, firing
from grafana.charts import chart, color
from grafana.parts import BLUE, GREEN, OF_JOB, ORANGE, PROMETHEUS, VERMILION, board, metric, service_variable, words
from grafana.runbooks import runbook

INTRODUCTION = """\
**Availability: 99.9 % of the requests are answered without a 5xx. \
Latency: 99 % of those are over within 500 ms. Both over 30 days, for each service.**
What may go wrong is the budget: one request in a thousand, and one in a hundred. A burn rate of 1 uses it up in just \
30 days. An alert fires at 14.4 over an hour (2 % of the budget) or at 6 over six hours (5 %), while the last minutes \
agree and at least 5 requests were bad. A service that is down counts no requests; another alert is for that."""

# Both windows of a pair have one colour; the long one is the thick line.
_WINDOWS = {
    "5m": ("5 min", VERMILION, 1),
    "1h": ("1 h", VERMILION, 3),
    "30m": ("30 min", BLUE, 1),
    "6h": ("6 h", BLUE, 3),
}


def slo() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        board(
            "SLO",
            "slo",
            "What users may expect, how fast that is used up, and the alerts with their runbooks.",
            "now-6h",
        )
        .with_variable(service_variable())
        .with_panel(words(INTRODUCTION, 3))
        .with_panel(firing())
        .with_panel(_budget("availability", "Failed"))
        .with_panel(_burn("availability", "Requests that failed"))
        .with_panel(_budget("latency", "Slow"))
        .with_panel(_burn("latency", "Requests that did not fail, and took more than 500 ms"))
        .with_panel(fired())
        .with_panel(runbook("AvailabilityBudgetBurn"))
        .with_panel(runbook("LatencyBudgetBurn"))
        .with_panel(runbook("ServiceDown"))
    )


def _budget(name: str, bad: str) -> stat.Panel:
    labels = f'{OF_JOB}, slo="{name}"'
    counted = "sum(increase(instance_slo:requests{}_total{{{}}}[1d]))"
    return (
        stat.Panel()
        .title(f"{name.capitalize()} budget")
        .description(
            "Of the last 24 hours' share of the budget; below 0, of other days' too. Prometheus keeps two days here, "
            "so that nobody can tell what is left of 30. The numbers are the requests that it is made of."
        )
        .datasource(PROMETHEUS)
        .with_target(metric(f"1 - job_slo:burn:rate1d{{{labels}}}", "Left of a day").instant())
        .with_target(metric(counted.format("_bad", labels), bad).instant())
        .with_target(metric(counted.format("", labels), "Of").instant())
        .no_value("No requests yet.")
        .unit("locale")
        .decimals(0)
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .orientation(VizOrientation.HORIZONTAL)
        .thresholds(_steps((None, "text")))
        .override_by_name(
            "Left of a day",
            [
                DynamicConfigValue(id_val="unit", value="percentunit"),
                DynamicConfigValue(
                    id_val="thresholds", value=_steps((None, VERMILION), (0, ORANGE), (0.5, GREEN)).build()
                ),
            ],
        )
        .span(5)
        .height(9)
    )


def _burn(name: str, what: str) -> timeseries.Panel:
    panel = (
        chart(f"{name.capitalize()} burn rate", unit="suffix:x")
        .description(
            f"{what}, as a multiple of what is allowed, over four windows. The alert fires while both red lines are "
            "above 14.4, or both blue ones above 6, if at least 5 requests were bad. Above 1 the scale is logarithmic."
        )
        .no_value("No requests yet.")
        .axis_soft_max(20)
        .scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.SYMLOG).log(10).linear_threshold(1))
        .thresholds(_steps((None, "transparent"), (6, BLUE), (14.4, VERMILION)))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
        .span(19)
        .height(9)
    )
    for window, (legend, value, width) in _WINDOWS.items():
        expr = f'job_slo:burn:rate{window}{{{OF_JOB}, slo="{name}"}}'
        panel.with_target(metric(expr, legend)).override_by_name(
            legend,
            [*color(value), DynamicConfigValue(id_val="custom.lineWidth", value=width)],
        )
    return panel


def _steps(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=least, color=paint) for least, paint in steps])
    )
