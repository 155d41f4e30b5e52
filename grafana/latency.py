"""Latency: percentiles with exemplars, the heatmap, a dot for each slow request, and the parts of slow requests."""

from grafana_foundation_sdk.builders import common, heatmap, timeseries
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    GraphDrawStyle,
    HeatmapCellLayout,
    ScaleDistribution,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.charts import INVISIBLE, NO_REQUESTS, PARSED_PARTS, PARTS, color, line_chart, stacked
from grafana.common import (
    BLUE,
    LATENCY_PANEL,
    LOKI,
    OF_JOB,
    ORANGE,
    PROMETHEUS,
    SLOW_OR_FAILED,
    VERMILION,
    buckets,
    lines,
    log_metric,
    metric,
)
from grafana.tables import TRACE_LINK, convert, extract_fields, if_empty, organize, sort

# Grafana does not extend an axis for exemplars. This invisible line does: no request was slower than the last bucket
# with requests.
_UPPER_BOUND = f"histogram_quantile(1, {buckets()})"


def percentiles() -> timeseries.Panel:
    """Return the panel with an exemplar for each bucket and scrape."""
    return (
        line_chart("Request latency", unit="s")
        .description(
            "p50, p95 and p99 of the time from the arrival of a request to the end of its response. Each dot is an "
            "exemplar: one request of each bucket of the histogram and each scrape (5 s)."
        )
        .id(LATENCY_PANEL)
        .span(12)
        .height(6)
        .axis_soft_max(1)
        .with_target(metric(f"histogram_quantile(0.99, {buckets()})", "p99", exemplars=True))
        .with_target(metric(f"histogram_quantile(0.95, {buckets()})", "p95"))
        .with_target(metric(f"histogram_quantile(0.50, {buckets()})", "p50"))
        .with_target(metric(_UPPER_BOUND, "bound"))
        .override_by_name("p99", color(VERMILION))
        .override_by_name("p95", color(ORANGE))
        .override_by_name("p50", color(BLUE))
        .override_by_name("bound", INVISIBLE)
        .no_value(NO_REQUESTS)
    )


def latency_heatmap() -> heatmap.Panel:
    """Return the heatmap of the histogram, with exemplars."""
    expr = f"sum by (le) (increase(http_request_duration_seconds_bucket{{{OF_JOB}}}[$__rate_interval]))"
    return (
        heatmap.Panel()
        .title("Latency heatmap")
        .description(
            "Number of requests by duration: each row is a bucket of the histogram, darker is more. Two bands are two "
            "kinds of requests, of which a percentile shows only one. The diamonds are exemplars."
        )
        .datasource(PROMETHEUS)
        .with_target(metric(expr, "{{le}}", exemplars=True).format(PromQueryFormat.HEATMAP))
        .cell_gap(1)
        .color(
            # One hue, so that it does not depend on distinguishing colors.
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .scale(HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .exemplars_color("rgba(213, 94, 0, 0.4)")
        .hide_legend()
        .rows_frame(heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.AUTO))
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(AxisPlacement.LEFT))
        .scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR))
        .tooltip(heatmap.HeatmapTooltip().mode(TooltipDisplayMode.SINGLE).y_histogram(False))
        .unit("none")
        .span(12)
        .height(6)
    )


def slow_requests() -> timeseries.Panel:
    """Return the panel with a dot for each slow or failed request."""
    fields = {"Time": "timestamp", "duration_ms": "duration_ms", "trace_id": "trace_id", "request": "request"}
    expr = (
        f"{SLOW_OR_FAILED} | json timestamp, duration_ms, method, route, status"
        " | label_format request=`{{.method}} {{.route}} {{.status}}`"
    )
    return (
        line_chart("Slow and failed requests", unit="ms")
        .description(
            "From the log lines: a dot for each request that took at least 500 ms or failed, up to the latest 5,000. "
            "Click a dot for its log lines."
        )
        .datasource(LOKI)
        .with_target(lines(expr, 5000))
        .with_transformation(extract_fields(fields))
        .with_transformation(convert("time", "Time"))
        .with_transformation(convert("number", "duration_ms"))
        .with_transformation(sort("Time", descending=False))
        .with_transformation(organize(list(fields)))
        .draw_style(GraphDrawStyle.POINTS)
        .show_points(VisibilityMode.ALWAYS)
        .point_size(6)
        .axis_soft_max(1000)
        .override_by_name(
            "duration_ms",
            [
                DynamicConfigValue(id_val="displayName", value="Duration"),
                *color(VERMILION),
                DynamicConfigValue(
                    id_val="links", value=[{"title": "Lines of this request", "url": TRACE_LINK, "oneClick": True}]
                ),
            ],
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.SINGLE))
        .legend(common.VizLegendOptions().show_legend(False))
        .no_value(if_empty("No request was slow or failed in this time."))
        .span(24)
        .height(5)
    )


def breakdown() -> timeseries.Panel:
    """Return the panel with the parts of the mean duration of slow and failed requests."""
    panel = (
        stacked(line_chart("Where slow requests spend their time (mean)", unit="ms"))
        .description(
            "The parts of the duration of slow and failed requests, from the timers in their log lines. Concurrent "
            "parts can add up to more than the duration."
        )
        .datasource(LOKI)
        .interval("15s")
        .span(12)
        .height(8)
        .no_value("No request was slow or failed in this time.")
    )
    for field, (name, value) in PARTS.items():
        # Most lines do not have most fields, and a line filter is faster than a parser.
        parser = f'|= `"{field}":` | json {field}' if field != "rest" else f"| {PARSED_PARTS}"
        expr = (
            f"sum(sum_over_time({SLOW_OR_FAILED} {parser} | unwrap {field} [$__auto]))"
            f" / sum(count_over_time({SLOW_OR_FAILED} [$__auto]))"
        )
        panel.with_target(log_metric(expr, name)).override_by_name(name, color(value))
    return panel
