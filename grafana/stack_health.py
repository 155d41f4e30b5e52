"""The dashboard `stack-health`: whether all log lines and exemplars arrive."""

from grafana_foundation_sdk.builders import dashboard, stat, timeseries
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode

from grafana.charts import line_chart
from grafana.common import OF_JOB, PROMETHEUS, metric, new_dashboard, text_panel

INTRODUCTION = """\
**Does Loki have all lines that were written?** If a pipeline loses lines, none of its parts reports it. \
Here the services count the lines that they write, and Loki counts the lines that it stores."""


def stack_health() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        new_dashboard(
            "Stack health",
            "stack-health",
            "Lines written and stored, exemplars, and the health of all parts.",
            "now-1h",
        )
        .with_panel(text_panel(INTRODUCTION, 2))
        .with_panel(_stored_share())
        .with_panel(_lines())
        .with_panel(_targets())
        .with_panel(_exemplars())
        .with_panel(_rejected())
        .with_panel(_memory())
    )


def _stored_share() -> stat.Panel:
    return (
        stat.Panel()
        .title("Lines stored")
        .description(
            "Of the last 10 minutes. Below 100 %: the rest was lost, for example by a log rotation, or has not "
            "arrived yet. Above: lines were sent twice, as after a crash of Alloy; Loki shows them once, but counts "
            "them twice."
        )
        .datasource(PROMETHEUS)
        .unit("percentunit")
        .decimals(1)
        .no_value("Not counted yet: Loki counts once a minute.")
        .color_mode(BigValueColorMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .span(6)
        .height(9)
        .with_target(metric("job:log_lines_stored:ratio10m", "{{job}}"))
    )


def _lines() -> timeseries.Panel:
    return (
        _series("Lines written and stored", "short")
        .description("Of the previous 10 minutes each. `written` is counted by the service, `stored` by Loki.")
        .span(18)
        .height(9)
        .with_target(metric(f"job:log_lines_written:increase10m{{{OF_JOB}}}", "written"))
        .with_target(metric(f"job:log_lines_stored:count10m{{{OF_JOB}}}", "stored"))
    )


def _targets() -> timeseries.Panel:
    return (
        _series("Targets of Prometheus", "short")
        .description("1: the target responds, 0: it does not. Each replica is a target.")
        .span(12)
        .height(8)
        .axis_soft_max(1)
        .with_target(metric("up", "{{job}} {{instance}}"))
    )


def _exemplars() -> timeseries.Panel:
    return (
        _series("Exemplars", "short")
        .description("At the maximum, a new exemplar replaces the oldest one.")
        .span(12)
        .height(8)
        .with_target(metric("prometheus_tsdb_exemplar_exemplars_in_storage", "stored"))
        .with_target(metric("prometheus_tsdb_exemplar_max_exemplars", "maximum"))
    )


def _rejected() -> timeseries.Panel:
    return (
        _series("Rejected lines and repeated batches", "short")
        .description(
            "Lines that Alloy dropped or Loki rejected, and batches that Alloy sent again because Loki did not accept "
            "them."
        )
        .span(12)
        .height(8)
        .with_target(
            metric("sum by (reason) (increase(loki_write_dropped_entries_total[1m]))", "dropped by Alloy: {{reason}}")
        )
        .with_target(
            metric("sum by (reason) (increase(loki_discarded_samples_total[1m]))", "rejected by Loki: {{reason}}")
        )
        .with_target(metric("sum(increase(loki_write_batch_retries_total[1m]))", "repeated batches"))
    )


def _memory() -> timeseries.Panel:
    return (
        _series("Memory", "bytes")
        .description("Resident memory of the processes that Prometheus scrapes.")
        .span(12)
        .height(8)
        .with_target(metric("process_resident_memory_bytes", "{{job}} {{instance}}"))
    )


def _series(title: str, unit: str) -> timeseries.Panel:
    return line_chart(title, unit).no_value("No data in this time.")
