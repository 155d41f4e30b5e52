"""The dashboard `stack-health`: whether what carries lines and exemplars carries all of them."""

from grafana_foundation_sdk.builders import dashboard, stat, timeseries
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode

from grafana.charts import framed
from grafana.parts import OF_JOB, PROMETHEUS, board, metric, service_variable, words

INTRODUCTION = """\
**Are the lines that were written the lines that are stored?** Where a pipeline loses some, no part of it says so: \
here the services say how many they wrote, and Loki counts how many it has.
[The service](/d/service/service)"""


def stack_health() -> dashboard.Dashboard:
    """Build the dashboard."""
    return (
        board(
            "Stack health",
            "stack-health",
            "Lines written beside lines stored, exemplars kept, and which part answers.",
            "now-1h",
        )
        .with_variable(service_variable())
        .with_panel(words(INTRODUCTION, 2))
        .with_panel(_share())
        .with_panel(_lines())
        .with_panel(_targets())
        .with_panel(_exemplars())
        .with_panel(_refused())
        .with_panel(_memory())
    )


def _share() -> stat.Panel:
    return (
        stat.Panel()
        .title("Lines stored, of those written")
        .description(
            "Of the last 10 minutes. Below 100 %: the rest is lost, as by a log that rotated before it was read, or "
            "still on its way. Above: some came twice, as after a crash of Alloy; Loki shows those once, and counts "
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
        .description("Of each last 10 minutes. `written` is what the service counted, `stored` is what Loki has.")
        .span(18)
        .height(9)
        .with_target(metric(f"job:log_lines_written:increase10m{{{OF_JOB}}}", "written"))
        .with_target(metric(f"job:log_lines_stored:count10m{{{OF_JOB}}}", "stored"))
    )


def _targets() -> timeseries.Panel:
    return (
        _series("Parts that answer Prometheus", "short")
        .description("1 is yes, 0 is no; each replica is a target of its own. Prometheus is one, too.")
        .span(12)
        .height(8)
        .axis_soft_max(1)
        .with_target(metric("up", "{{job}} {{instance}}"))
    )


def _exemplars() -> timeseries.Panel:
    return (
        _series("Exemplars kept", "short")
        .description("Each is a dot. When there are as many as `at most`, a new one takes the place of the oldest.")
        .span(12)
        .height(8)
        .with_target(metric("prometheus_tsdb_exemplar_exemplars_in_storage", "kept"))
        .with_target(metric("prometheus_tsdb_exemplar_max_exemplars", "at most"))
    )


def _refused() -> timeseries.Panel:
    return (
        _series("Lines refused, and batches sent again", "short")
        .description(
            "What Alloy or Loki know of: lines that were given up, and batches that Loki did not take at once."
        )
        .span(12)
        .height(8)
        .with_target(
            metric("sum by (reason) (increase(loki_write_dropped_entries_total[1m]))", "Alloy gave up: {{reason}}")
        )
        .with_target(metric("sum by (reason) (increase(loki_discarded_samples_total[1m]))", "Loki refused: {{reason}}"))
        .with_target(metric("sum(increase(loki_write_batch_retries_total[1m]))", "batches again"))
    )


def _memory() -> timeseries.Panel:
    return (
        _series("Memory of each part", "bytes")
        .description("Resident memory of the processes that Prometheus scrapes.")
        .span(12)
        .height(8)
        .with_target(metric("process_resident_memory_bytes", "{{job}} {{instance}}"))
    )


def _series(title: str, unit: str) -> timeseries.Panel:
    return framed(title, unit).fill_opacity(0).no_value("Nothing was told in this time.")
