"""The panels of traffic: rates, errors, and the replicas side by side."""

from grafana_foundation_sdk.builders import timeseries

from grafana.charts import GREY, NO_REQUESTS, PURPLE, SKY, bars, chart, color, stacked
from grafana.parts import BLUE, FINISHED, GREEN, LOKI, OF_JOB, ORANGE, buckets, counted, metric

_REQUESTS = f"http_request_duration_seconds_count{{{OF_JOB}}}"
# The demo's own routes, as colour-blind people can tell them apart; others have what Grafana chooses.
_COLORS = {
    "GET /users/{user_id}": BLUE,
    "POST /orders": ORANGE,
    "GET /users": GREEN,
    "GET /orders": PURPLE,
    "POST /charges": SKY,
    "POST /faults": GREY,
}


def rate() -> timeseries.Panel:
    """Build the panel of what is asked for."""
    panel = (
        stacked(chart("Request rate by route", unit="reqps"))
        .description("Requests per second of all replicas. `unmatched` is what no route was found for.")
        .span(12)
        .height(8)
        .no_value(NO_REQUESTS)
        .with_target(metric(f"sum by (method, route) (rate({_REQUESTS}[$__rate_interval]))", "{{method}} {{route}}"))
    )
    for name, value in _COLORS.items():
        panel.override_by_name(name, color(value))
    return panel


def errors() -> timeseries.Panel:
    """Build the panel of what went wrong."""
    expr = f'sum by (route, status) (count_over_time({FINISHED} |~ `"status":[45]` | json route, status [$__auto]))'
    return (
        bars(chart("Errors by route and status", unit="none"))
        .description(
            "Responses that are 4xx or 5xx, from the log lines: a rate of counters misses the first of a kind. "
            "499 is a client that left before its answer. The table of errors has each of them."
        )
        .span(12)
        .height(8)
        .interval("10s")
        .axis_soft_max(5)
        .no_value("No errors in this time.")
        .datasource(LOKI)
        .with_target(counted(expr, "{{status}} {{route}}"))
    )


def rate_of_replicas() -> timeseries.Panel:
    """Build the panel that shows whether the load is shared."""
    return (
        chart("Rate by replica", unit="reqps")
        .description("Requests per second of each replica, by the `instance` that its lines and its dots have, too.")
        .span(8)
        .height(8)
        .no_value(NO_REQUESTS)
        .with_target(metric(f"sum by (instance) (rate({_REQUESTS}[$__rate_interval]))", "{{instance}}"))
    )


def latency_of_replicas() -> timeseries.Panel:
    """Build the panel that shows whether one replica is slower than the others."""
    return (
        _p99_of_replicas("Latency", "http_request_duration_seconds")
        .description("The p99 of each replica. One line above the others is a replica in trouble.")
        .axis_soft_max(1)
    )


def lag_of_replicas() -> timeseries.Panel:
    """Build the panel that shows who had to wait for the event loop."""
    return (
        _p99_of_replicas("Event loop lag", "event_loop_lag_seconds")
        .description(
            "How late a timer of 20 ms was: so long, everything in that process had to wait. A blocked loop makes "
            "requests slow that did nothing wrong."
        )
        .axis_soft_max(0.1)
    )


def _p99_of_replicas(what: str, histogram: str) -> timeseries.Panel:
    query = metric(f"histogram_quantile(0.99, {buckets(histogram, by='instance, le')})", "{{instance}}")
    panel = chart(f"{what} by replica (p99)", unit="s").no_value(NO_REQUESTS)
    return panel.span(8).height(8).with_target(query)
