"""Styles of time series panels, and the parts of a request's duration."""

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

from grafana.common import BLUE, GREEN, GREY, ORANGE, PROMETHEUS, VERMILION

#: The parts of a request's duration in the order of their stacks: field of the log line, name and color.
PARTS: Mapping[str, tuple[str, str]] = {
    "db_ms": ("Database", BLUE),
    "pool_wait_ms": ("Waiting for a connection", ORANGE),
    "upstream_ms": ("Upstream", GREEN),
    "loop_lag_ms": ("Event loop blocked", VERMILION),
    "rest": ("Rest", GREY),
}

_MEASURED_PARTS = [field for field in PARTS if field != "rest"]

#: Query stages that read all parts from a line. `rest` is the remaining time. Concurrent parts can add up to more than
#: the duration, and the time in which the event loop was blocked is also in the parts that waited for it.
PARSED_PARTS = (
    f"json {', '.join(['duration_ms', *_MEASURED_PARTS])} | label_format rest=`{{{{ maxf 0 (subf .duration_ms "
    f"{' '.join(f'(default 0 .{field})' for field in _MEASURED_PARTS)}) }}}}`"
)

NO_REQUESTS = "No requests in this time."

#: The properties of a series that only extends the axis.
INVISIBLE = [
    DynamicConfigValue(id_val="custom.lineWidth", value=0),
    DynamicConfigValue(id_val="custom.hideFrom", value={"viz": False, "legend": True, "tooltip": True}),
]


def line_chart(title: str, unit: str) -> timeseries.Panel:
    """Return a panel with lines, and an axis that starts at 0."""
    panel = timeseries.Panel().title(title).datasource(PROMETHEUS).unit(unit).min(0)
    panel.line_width(2).show_points(VisibilityMode.NEVER)
    return panel.tooltip(tooltip()).legend(legend(LegendPlacement.BOTTOM))


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Stack the series."""
    return panel.fill_opacity(40).line_width(1).stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def bars(panel: timeseries.Panel) -> timeseries.Panel:
    """Draw stacked bars, for rare events."""
    return stacked(panel.draw_style(GraphDrawStyle.BARS)).fill_opacity(60)


def tooltip() -> common.VizTooltipOptions:
    """Return a tooltip with all values at a time."""
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)


def legend(placement: LegendPlacement) -> common.VizLegendOptions:
    """Return a legend with the names only."""
    return common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(placement).show_legend(True)


def color(value: str) -> list[DynamicConfigValue]:
    """Return the property of a series with a fixed color."""
    return [DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": value})]
