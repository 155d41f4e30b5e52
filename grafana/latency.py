"""The panels of latency: the lines with their dots, the slow dots alone, all requests as a heatmap, and its parts."""

from grafana_foundation_sdk.builders import common, heatmap, timeseries
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    HeatmapCellLayout,
    ScaleDistribution,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.charts import GREY, NO_REQUESTS, PARSED_PARTS, PARTS, UNSEEN, chart, color, stacked
from grafana.parts import BLUE, FINISHED, LOKI, OF_JOB, ORANGE, PROMETHEUS, VERMILION, buckets, counted, metric

# The bounds that are above the objective of 500 ms. Prometheus writes them with a point.
_SLOW = r'le=~"1\\.0|2\\.5|5\\.0|10\\.0|\\+Inf"'

# Grafana does not scale an axis to its exemplars. No dot is higher than the last bucket that has any request, so this
# line, which is not drawn, keeps them inside.
_BOUND = f"histogram_quantile(1, {buckets()})"


def latency() -> timeseries.Panel:
    """Build the panel with a dot for every bucket and scrape."""
    return (
        chart("Request latency (p50, p95, p99)", unit="s")
        .description(
            "Time from a request's arrival to the last byte of its response. A dot is one request: one of each bucket "
            "of the histogram for each scrape, every 5 seconds. The table of the slowest requests has the others."
        )
        .span(24)
        .height(11)
        .axis_soft_max(1)
        .with_target(metric(f"histogram_quantile(0.99, {buckets()})", "p99", dots=True))
        .with_target(metric(f"histogram_quantile(0.95, {buckets()})", "p95"))
        .with_target(metric(f"histogram_quantile(0.50, {buckets()})", "p50"))
        .with_target(metric(_BOUND, "bound"))
        .override_by_name("p99", color(VERMILION))
        .override_by_name("p95", color(ORANGE))
        .override_by_name("p50", color(BLUE))
        .override_by_name("bound", UNSEEN)
        .no_value(NO_REQUESTS)
    )


def slow_dots() -> timeseries.Panel:
    """Build the panel whose dots are slow requests only: the buckets of the others are not asked for."""
    slow = f"histogram_quantile(1, {buckets(only=f', {_SLOW}')})"
    return (
        chart("Slow requests only (over 500 ms)", unit="s")
        .description(
            "The dots of the panel above that are over 500 ms, and nothing else: each is a request that was too slow. "
            "The line is the bound of the slowest bucket that has any."
        )
        .span(12)
        .height(8)
        .axis_soft_max(1)
        .with_target(metric(slow, "slowest bucket", dots=True))
        .with_target(metric(_BOUND, "bound"))
        .override_by_name("slowest bucket", color(GREY))
        .override_by_name("bound", UNSEEN)
        .no_value(NO_REQUESTS)
    )


def spread() -> heatmap.Panel:
    """Build the heatmap: how many requests took how long."""
    expr = f"sum by (le) (increase(http_request_duration_seconds_bucket{{{OF_JOB}}}[$__rate_interval]))"
    return (
        heatmap.Panel()
        .title("Latency heatmap")
        .description(
            "How many requests took how long: each row is a bucket of the histogram, and darker is more of them. Two "
            "bands are two kinds of requests, of which a percentile shows one."
        )
        .datasource(PROMETHEUS)
        .with_target(metric(expr, "{{le}}").format(PromQueryFormat.HEATMAP))
        .cell_gap(1)
        .color(
            # From white to dark in one hue, which needs no colours to be told apart.
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .scale(HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .rows_frame(heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.AUTO))
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(AxisPlacement.LEFT))
        .scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR))
        .tooltip(heatmap.HeatmapTooltip().mode(TooltipDisplayMode.SINGLE).y_histogram(False))
        .unit("none")
        .span(24)
        .height(8)
    )


def breakdown() -> timeseries.Panel:
    """Build the panel of where the time went, a mean of all requests."""
    panel = (
        stacked(chart("Latency breakdown (mean)", unit="ms"))
        .description(
            "Where a request's time went, as the mean of all requests: what their lines say of the database, of "
            "waiting for one of its connections, of other services and of a blocked event loop; the rest is this "
            "service's own. Parts that happen at the same time are in all of them."
        )
        .datasource(LOKI)
        .interval("15s")
        .span(12)
        .height(8)
        .no_value(NO_REQUESTS)
    )
    for field, (name, value) in PARTS.items():
        # Most lines lack most of the fields, and a word is found sooner than JSON is read.
        parse = f'|= `"{field}":` | json {field}' if field != "rest" else f"| {PARSED_PARTS}"
        expr = (
            f"sum(sum_over_time({FINISHED} {parse} | unwrap {field} [$__auto]))"
            f" / sum(count_over_time({FINISHED} [$__auto]))"
        )
        panel.with_target(counted(expr, name)).override_by_name(name, color(value))
    return panel
