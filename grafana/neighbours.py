"""The tables beside one request: what else that user asked for, and what else happened in that second."""

from grafana_foundation_sdk.builders import dashboard, table
from grafana_foundation_sdk.models.dashboard import VariableHide

from grafana.parts import TRACE_LOGS, variable
from grafana.requests import METHOD, STATUS, TRACE_ID, USER
from grafana.tables import CLOCK, MILLISECONDS, Column, converted, largest_first, links, parsed, table_of_lines

# A row of the request's facts knows both. A second is written with points, because a colon would be encoded; as a
# pattern, a point is whatever stands there.
SECOND = 'label_format second=`{{ .timestamp | trunc 19 | replace ":" "." }}`'
TO_NEIGHBOURS = links(
    "Others of this user, and of this second",
    f"{TRACE_LOGS}?var-trace_id={variable('trace_id')}&${{__url_time_range}}"
    "&var-user=${__data.fields.user_id}&var-second=${__data.fields.second}",
)

_OTHERS = f'{{service_name=~".+", level!="debug"}} |= `"event":"request.finished"` | trace_id!="{variable("trace_id")}"'


def variables() -> list[dashboard.TextBoxVariable]:
    """Return what the click sets; nobody has to type it."""
    hidden = VariableHide.HIDE_VARIABLE
    return [dashboard.TextBoxVariable(name).default_value("").hide(hidden) for name in ("user", "second")]


def of_the_user() -> table.Panel:
    """Build the table of the user's other requests within the time range."""
    user = variable("user")
    # The line filter is fast, and lets through what begins alike; the comparison is exact, and knows no empty user.
    expr = f'{_OTHERS} |~ `"user_id":"?{user}[,"}}]` | {parsed(_COLUMNS)} | user_id="{user}" | user_id!=""'
    return (
        _table(expr)
        .title("Other requests of that user")
        .description("What the same user asked for in this time range, at all services: the slowest first.")
        .no_value("Click the user of the request above. If this stays empty, there are no others.")
    )


def of_the_second() -> table.Panel:
    """Build the table of what else finished in the request's last second."""
    expr = f'{_OTHERS} |~ `"timestamp":"{variable("second")}\\.[0-9]+Z` | {parsed(_COLUMNS)}'
    return (
        _table(expr)
        .title("Other requests of that second")
        .description("What else finished in the same second: whether one request was slow, or all of them.")
        .no_value("Click the user of the request above. If this stays empty, nothing else finished in that second.")
    )


_COLUMNS = {
    "Time": Column("Time", CLOCK),
    "duration_ms": Column("Duration", MILLISECONDS),
    "trace_id": TRACE_ID,
    "service_name": Column("Service", {"custom.width": 85}),
    "method": METHOD,
    "route": Column("Route"),
    "status": STATUS,
    "user_id": USER,
}


def _table(expr: str) -> table.Panel:
    order = [converted("number", "duration_ms"), largest_first("duration_ms")]
    return table_of_lines(expr, _COLUMNS, 200, order).span(24).height(8)
