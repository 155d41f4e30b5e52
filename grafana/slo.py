"""The dashboard `slo`: objectives, error budgets, burn rates, and alerts with their runbooks."""

from grafana_foundation_sdk.builders import common, dashboard, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    ScaleDistribution,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.alerts import fired, firing
from grafana.charts import color, line_chart
from grafana.common import (
    BLUE,
    GREEN,
    OF_JOB,
    ORANGE,
    PROMETHEUS,
    VERMILION,
    metric,
    new_dashboard,
    text_panel,
    thresholds,
)
from grafana.runbooks import runbook

INTRODUCTION = """\
**Availability: 99.9 % of the responses are not a 5xx. Latency: 99 % of these take less than 500 ms. \
Both over 30 days, for each service.**
The remaining requests, one in a thousand and one in a hundred, are the error budget. A burn rate of 1 uses it up in \
30 days. An alert fires at a burn rate of 14.4 over an hour (2 % of the budget) or of 6 over six hours (5 %), if the \
last minutes confirm it and at least 5 requests were bad. A service that is down counts no requests; it has its own \
alert."""

# The two windows of an alert have one color; the thick line is the long window.
_WINDOWS = {
    "5m": ("5 min", VERMILION, 1),
    "1h": ("1 h", VERMILION, 3),
    "30m": ("30 min", BLUE, 1),
    "6h": ("6 h", BLUE, 3),
}


def slo() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        new_dashboard(
            "SLO",
            "slo",
            "Objectives, error budgets, burn rates, and alerts with their runbooks.",
            "now-6h",
        )
        .with_panel(text_panel(INTRODUCTION, 3))
        .with_panel(firing())
        .with_panel(_budget("availability", "Failed"))
        .with_panel(_burn("availability", "Requests that failed"))
        .with_panel(_budget("latency", "Slow"))
        .with_panel(_burn("latency", "Requests that did not fail, but took more than 500 ms"))
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
            "Of one day's share of the error budget, the part that the last 24 hours left. Below 0, they used more. "
            "Prometheus keeps two days here, so the budget of 30 days is not available. Below are the requests."
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
        .thresholds(thresholds((None, "text")))
        .override_by_name(
            "Left of a day",
            [
                DynamicConfigValue(id_val="unit", value="percentunit"),
                DynamicConfigValue(
                    id_val="thresholds", value=thresholds((None, VERMILION), (0, ORANGE), (0.5, GREEN)).build()
                ),
            ],
        )
        .span(5)
        .height(9)
    )


def _burn(name: str, what: str) -> timeseries.Panel:
    panel = (
        line_chart(f"{name.capitalize()} burn rate", unit="suffix:x")
        .description(
            f"{what}, as a multiple of the objective, over four windows. The alert fires while both red lines are "
            "above 14.4, or both blue lines above 6. Above 1, the scale is logarithmic."
        )
        .no_value("No requests yet.")
        .axis_soft_max(20)
        .scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.SYMLOG).log(10).linear_threshold(1))
        .thresholds(thresholds((None, "transparent"), (6, BLUE), (14.4, VERMILION)))
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
