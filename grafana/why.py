"""What the slow requests of an incident have in common, from the `incident.explained` lines of the tour."""

from grafana_foundation_sdk.builders import table

from grafana.common import SERVICE, TRACE_LOGS, variable
from grafana.tables import Column, if_empty, links, parse, table_of_lines

#: The explanations of incidents of the selected service.
EXPLANATIONS = (
    '{service_name="tour"} |= `"event":"incident.explained"` | json explained_service'
    f' | explained_service="{variable("service")}"'
)


_IDS = {f"trace_id_{number + 1}": f"trace_ids[{number}]" for number in range(3)}


def why() -> table.Panel:
    """Return the table of explanations, the latest first."""
    incident = "from=${__data.fields.from}&to=${__data.fields.to}"
    spike = f"{SERVICE}?var-service={variable('service')}&{incident}"
    trace = f"{TRACE_LOGS}?var-trace_id=${{__value.raw}}&{incident}"
    columns = {
        "Time": Column("Ended: the spike", {**links("The spike", spike), "unit": "time:HH:mm:ss", "custom.width": 130}),
        "field": Column("Field", {"custom.width": 85}),
        "values": Column("Values", {"custom.inspect": True}),
        "slow_with": Column("Of the slow", {"custom.width": 105}),
        "fast_with": Column("Of the others", {"custom.width": 115}),
        "part": Column("Time spent in", {"custom.width": 110}),
        **{
            name: Column(f"Example {number}", {**links("Lines of this request", trace), "custom.width": 100})
            for number, name in enumerate(_IDS, start=1)
        },
        "from": Column("From", {"custom.hideFrom.viz": True}),
        "to": Column("To", {"custom.hideFrom.viz": True}),
    }
    parsed = {name: column for name, column in columns.items() if name not in _IDS}
    ids = ", ".join(f'{name}="{path}"' for name, path in _IDS.items())
    return (
        table_of_lines(f"{EXPLANATIONS} | {parse(parsed)}, {ids}", columns, 100)
        .title("Why? What the slow requests have in common")
        .description(
            "Within a minute of the end of an incident, its slow and failed requests are compared with the others: the "
            "field and the values that most of the slow ones have and few of the others, how many of each, and the "
            "largest part of the additional latency. A field `-` means that nothing explains the incident."
        )
        .no_value(if_empty("No incident was explained in this time."))
        .span(24)
        .height(4)
    )
