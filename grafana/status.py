"""The status tiles of the home dashboard."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common, dashboard, stat
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueGraphMode, BigValueTextMode

from grafana.common import (
    ERRORS_PANEL,
    GREEN,
    LATENCY_PANEL,
    OF_JOB,
    ORANGE,
    PROMETHEUS,
    REQUESTS,
    ROUTES_PANEL,
    SAME_VIEW,
    SERVICE,
    SLO_DASHBOARD,
    STACK_HEALTH,
    VERMILION,
    buckets,
    metric,
    thresholds,
)


def tiles() -> Sequence[stat.Panel]:
    """Return the tiles; a click opens the panel or the dashboard that explains the value."""
    rate = f"sum(rate({REQUESTS}{{{OF_JOB}}}[$__rate_interval]))"
    failed = f'sum(rate({REQUESTS}{{{OF_JOB}, status=~"5.."}}[$__rate_interval])) or {rate} * 0'
    return (
        _tile("Requests", "reqps", _panel(ROUTES_PANEL))
        .description("Requests per second of all replicas.")
        .with_target(metric(rate, "Requests"))
        .decimals(1)
        .thresholds(thresholds((None, "text"))),
        _tile("Errors", "percentunit", _panel(ERRORS_PANEL))
        .description("Share of the responses with status 5xx.")
        .with_target(metric(f"({failed}) / {rate}", "Errors"))
        .decimals(2)
        # The objective, and the burn rate at which the alert fires.
        .thresholds(thresholds((None, GREEN), (0.001, ORANGE), (0.0144, VERMILION))),
        _tile("p99", "s", _panel(LATENCY_PANEL))
        .description("99 % of the requests are faster.")
        .with_target(metric(f"histogram_quantile(0.99, {buckets()})", "p99"))
        .thresholds(thresholds((None, GREEN), (0.5, ORANGE), (1, VERMILION))),
        _tile("Error budget left", "percentunit", f"{SLO_DASHBOARD}?{SAME_VIEW}")
        .description("Of one day's error budgets, the share that the last 24 hours left. Below 0, they used more.")
        .with_target(metric(_budget("latency"), "latency"))
        .with_target(metric(_budget("availability"), "availability"))
        .decimals(0)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .thresholds(thresholds((None, VERMILION), (0, ORANGE), (0.5, GREEN))),
        _tile("Lines stored", "percentunit", f"{STACK_HEALTH}?{SAME_VIEW}")
        .description("Share of the lines written in the last 10 minutes that Loki has. Loki counts once a minute.")
        .with_target(metric(f"job:log_lines_stored:ratio10m{{{OF_JOB}}}", "Lines stored"))
        .decimals(1)
        .thresholds(thresholds((None, VERMILION), (0.99, ORANGE), (0.999, GREEN)))
        .span(4),
    )


def _budget(slo: str) -> str:
    return f'1 - job_slo:burn:rate1d{{{OF_JOB}, slo="{slo}"}}'


def _tile(title: str, unit: str, url: str) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .datasource(PROMETHEUS)
        .unit(unit)
        .no_value("-")
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .data_links([dashboard.DashboardLink("Why?").url(url)])
        .span(5)
        .height(3)
    )


def _panel(number: int) -> str:
    return f"{SERVICE}?{SAME_VIEW}&viewPanel={number}"
