"""Replicas and resources, in a row that is collapsed at first."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import timeseries

from grafana.charts import NO_REQUESTS, bars, color, line_chart, stacked
from grafana.common import BLUE, OF_JOB, ORANGE, REQUESTS, buckets, metric


def panels() -> Sequence[timeseries.Panel]:
    """Return the panels of the row."""
    return (
        _by_replica(
            "Rate by replica", "reqps", f"sum by (instance) (rate({REQUESTS}{{{OF_JOB}}}[$__rate_interval]))"
        ).description("Requests per second of each replica, by the `instance` that its log lines and exemplars have."),
        _by_replica("Latency by replica (p99)", "s", _p99("http_request_duration_seconds"))
        .description("A line above the others is a replica with a problem.")
        .axis_soft_max(1),
        _by_replica("Event loop lag by replica (p99)", "s", _p99("event_loop_lag_seconds"))
        .description("How late a timer of 20 ms is. While the event loop is blocked, all requests of the process wait.")
        .axis_soft_max(0.1),
        _by_replica("Requests in progress", "none", f"http_requests_in_flight{{{OF_JOB}}}")
        .description("Requests of each replica that have no complete response yet.")
        .axis_soft_max(10),
        _by_replica("CPU", "none", f"rate(process_cpu_seconds_total{{{OF_JOB}}}[$__rate_interval])")
        .description("Cores that each replica uses. One Python process uses one core at most.")
        .axis_soft_max(1),
        stacked(line_chart("Connection pool", unit="none"))
        .description("Database connections of all replicas. If none is idle, requests wait for one.")
        .no_value("The service has no connection pool.")
        .with_target(metric(f"sum by (state) (db_pool_connections{{{OF_JOB}}})", "{{state}}"))
        .override_by_name("used", color(ORANGE))
        .override_by_name("idle", color(BLUE))
        .span(8)
        .height(8),
        bars(line_chart("Rejected by the service", unit="none"))
        .description(
            "Ids of clients that are not valid, connections that exceeded a limit, and log lines that could not be "
            "written, each by its reason."
        )
        .interval("15s")
        .no_value("Nothing was rejected in this time.")
        .axis_soft_max(5)
        .with_target(metric(_increase("request_ids_rejected_total", "reason"), "id: {{reason}}"))
        .with_target(metric(_increase("http_connections_closed_total", "reason"), "connection: {{reason}}"))
        .with_target(metric(_increase("log_records_failed_total", "job"), "log line not written"))
        .span(24)
        .height(8),
    )


def _by_replica(title: str, unit: str, expr: str) -> timeseries.Panel:
    panel = line_chart(title, unit).no_value(NO_REQUESTS).span(8).height(8)
    return panel.with_target(metric(expr, "{{instance}}"))


def _p99(histogram: str) -> str:
    return f"histogram_quantile(0.99, {buckets(histogram, by='instance, le')})"


def _increase(counter: str, label: str) -> str:
    return f"sum by ({label}) (increase({counter}{{{OF_JOB}}}[$__rate_interval])) > 0"
