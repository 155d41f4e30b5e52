"""Tables next to one request: other requests of the same user, and of the same second."""

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

from grafana.common import LOKI, TRACE_LOGS, log_metric, variable
from grafana.tables import (
    CLOCK,
    METHOD,
    MILLISECONDS,
    STATUS,
    USER,
    Column,
    convert,
    if_empty,
    links,
    organize,
    set_columns,
    sort,
)

# Loki computes with one series for each request. An hour of them would exceed its limit (max_query_series).
_RANGE = "10m"

_LABELS = ("timestamp", "trace_id", "service_name", "method", "route", "status", "user_id")

_COLUMNS = {
    "timestamp": Column("Time", CLOCK),
    "Value #A": Column("Duration", MILLISECONDS),
    "trace_id": Column(
        "Trace id: its lines",
        {
            **links("Lines of this request", f"{TRACE_LOGS}?var-trace_id=${{__value.raw}}&${{__url_time_range}}"),
            "custom.width": 290,
        },
    ),
    "service_name": Column("Service", {"custom.width": 85}),
    "method": METHOD,
    "route": Column("Route"),
    "status": STATUS,
    "user_id": USER,
}


def same_user() -> table.Panel:
    """Return the table of other requests of the same user."""
    return (
        _table("user_id")
        .title("Other requests of the same user")
        .description("In the last ten minutes of the time range, at all services, the slowest first.")
    )


def same_second() -> table.Panel:
    """Return the table of other requests that ended in the same second."""
    return (
        _table("second")
        .title("Other requests of the same second")
        .description(
            "Were all of them slow, or only this one? Only the last ten minutes of the time range are searched."
        )
    )


def _table(key: str) -> table.Panel:
    # Loki joins both sides by `key`, so that no variable has to be set.
    others = f"max by ({', '.join(dict.fromkeys((*_LABELS, key)))}) ({_durations('!=', key)})"
    request = f"max by ({key}) ({_durations('=', key)})"
    panel = table.Panel().datasource(LOKI).cell_height(TableCellHeight.SM)
    panel.with_target(log_metric(f"{others} and on ({key}) {request}", "").query_type("instant"))
    for transformation in (
        DataTransformerConfig(id_val="merge", options={}),
        organize(list(_COLUMNS), ["Time", "second"]),
        convert("time", "timestamp"),
        sort("Value #A"),
    ):
        panel.with_transformation(transformation)
    panel.no_value(if_empty("No other requests. If the request has a user, click that user in the table above."))
    return set_columns(panel, _COLUMNS, {"noValue": "-"}).span(24).height(8)


def _durations(operator: str, key: str) -> str:
    condition = f'trace_id{operator}"{variable("id")}"'
    return (
        f'max_over_time({{service_name=~".+", level!="debug"}} |= `"event":"request.finished"` | {condition}'
        " | json timestamp, method, route, status, user_id, duration_ms"
        f' | label_format second=`{{{{ .timestamp | trunc 19 }}}}` | {key}!="" | unwrap duration_ms [{_RANGE}])'
    )
