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

_TIMED = [field for field in PARTS if field != "rest"]

#: The stages of a query that read all parts from a line. `rest` is what no timer knows. Timers of work that goes on at
#: the same time may add up to more than the whole, and a request that the loop held up waited in its timers, too.
PARSED_PARTS = (
    f"json {', '.join(['duration_ms', *_TIMED])} | label_format rest=`{{{{ maxf 0 (subf .duration_ms "
    f"{' '.join(f'(default 0 .{field})' for field in _TIMED)}) }}}}`"
)

#: What a chart of requests says where there are none.
NO_REQUESTS = "No requests in this time."

UNSEEN = [
    DynamicConfigValue(id_val="custom.lineWidth", value=0),
    DynamicConfigValue(id_val="custom.hideFrom", value={"viz": False, "legend": True, "tooltip": True}),
]


def framed(title: str, unit: str) -> timeseries.Panel:
    """Return the frame of a chart, which begins at nothing."""
    panel = timeseries.Panel().title(title).datasource(PROMETHEUS).unit(unit).min(0)
    return panel.tooltip(tooltip()).legend(legend(LegendPlacement.BOTTOM))


def chart(title: str, unit: str) -> timeseries.Panel:
    """Return a chart of lines."""
    return framed(title, unit).line_width(2).show_points(VisibilityMode.NEVER)


def tooltip() -> common.VizTooltipOptions:
    """Show all values of a moment, or of a bar."""
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)


def legend(placement: LegendPlacement) -> common.VizLegendOptions:
    """Name the series in a row."""
    return common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(placement).show_legend(True)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Lay the series upon each other."""
    return panel.fill_opacity(40).line_width(1).stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def bars(panel: timeseries.Panel) -> timeseries.Panel:
    """Draw bars upon each other, for what happens now and then."""
    return stacked(panel.draw_style(GraphDrawStyle.BARS)).fill_opacity(60)


def color(value: str) -> list[DynamicConfigValue]:
    """Return the property of a series that always has the same colour."""
    return [DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": value})]
