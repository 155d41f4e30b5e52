"""How a chart looks: its frame, its colours, and what it does with series that are not there."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import common, timeseries
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.parts import BLUE, GREEN, ORANGE, PROMETHEUS, VERMILION

# The rest of the palette of Okabe and Ito.
PURPLE, SKY, GREY = "#CC79A7", "#0072B2", "#999999"

#: Where a request's time goes, in the order in which it is stacked: the field of its line, its name, and its colour.
PARTS: Mapping[str, tuple[str, str]] = {
    "db_ms": ("Database", BLUE),
    "pool_wait_ms": ("Waiting for a connection", ORANGE),
    "upstream_ms": ("Upstream", GREEN),
    "loop_lag_ms": ("Event loop blocked", VERMILION),
    "rest": ("Rest", GREY),
}

#: The stage of a query that makes `rest` of a line that has been parsed: what no timer knows. Timers of work that goes
#: on at the same time may add up to more than the whole, and a request that the loop held up waited in its timers, too.
REST = (
    "label_format rest=`{{ maxf 0 (subf .duration_ms (default 0 .db_ms) (default 0 .pool_wait_ms)"
    " (default 0 .upstream_ms) (default 0 .loop_lag_ms)) }}`"
)

UNSEEN = [
    DynamicConfigValue(id_val="custom.lineWidth", value=0),
    DynamicConfigValue(id_val="custom.hideFrom", value={"viz": False, "legend": True, "tooltip": True}),
]


def chart(title: str, unit: str) -> timeseries.Panel:
    """Return a chart of a range, which begins at nothing."""
    return (
        timeseries.Panel()
        .title(title)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .line_width(2)
        .show_points(VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Lay the series upon each other."""
    return panel.fill_opacity(40).line_width(1).stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def bars(panel: timeseries.Panel) -> timeseries.Panel:
    """Draw bars upon each other, for what happens now and then."""
    return stacked(panel.draw_style(GraphDrawStyle.BARS)).fill_opacity(60)


def color(value: str) -> list[DynamicConfigValue]:
    """Return the property of a series that always has the same colour."""
    return [DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": value})]
