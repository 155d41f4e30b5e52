"""What the slow requests of an incident have in common, from the `incident.explained` lines of the tour."""

from grafana_foundation_sdk.builders import table

from grafana.common import AROUND, SERVICE, TRACE_LOGS, variable
from grafana.tables import ROW_TIME, Column, if_empty, links, parse, table_of_lines

#: The explanations of incidents of the selected service.
EXPLANATIONS = (
    '{service_name="tour"} |= `"event":"incident.explained"` | json explained_service'
    f' | explained_service="{variable("service")}"'
)


def why() -> table.Panel:
    """Return the table of explanations, the latest first."""
    spike = f"{SERVICE}?var-service={variable('service')}&{AROUND.format(ROW_TIME)}"
    trace = f"{TRACE_LOGS}?var-trace_id=${{__value.raw}}&from=${{__data.fields.from}}&to=${{__data.fields.to}}"
    columns = {
        "Time": Column("Explained", {**links("The spike", spike), "unit": "time:HH:mm:ss", "custom.width": 90}),
        "field": Column("Field", {"custom.width": 90}),
        "values": Column("Values"),
        "slow_with": Column("Slow requests with it", {"custom.width": 150}),
        "fast_with": Column("Fast requests with it", {"custom.width": 150}),
        "part": Column("Time spent in", {"custom.width": 150}),
        "trace_id_1": Column("Example: its lines", links("Lines of this request", trace)),
        "from": Column("From", {"custom.hideFrom.viz": True}),
        "to": Column("To", {"custom.hideFrom.viz": True}),
    }
    return (
        table_of_lines(f"{EXPLANATIONS} | {parse(columns)}", columns, 100)
        .title("Why? What slow requests have in common")
        .description(
            "Within a minute after an incident, its slow requests are compared with the fast ones of the same time: "
            "the field and the values that most of the slow requests have, and few of the fast ones."
        )
        .no_value(if_empty("No incident was explained in this time."))
        .span(24)
        .height(4)
    )
