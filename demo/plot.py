"""A plot for a terminal, in blocks."""

import math
from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def columns(values: Sequence[float], width: int) -> list[float]:
    """Fit values into `width` columns: each is repeated, or the largest of some neighbours is taken."""
    if len(values) > width:
        each = math.ceil(len(values) / width)
        return [max(values[start : start + each]) for start in range(0, len(values), each)]
    return [value for value in values for _ in range(min(2, width // max(1, len(values))))]


def bars(values: Sequence[float], height: int) -> list[str]:
    """Return the rows of a plot, the top first; what is above zero is at least a stroke."""
    top = max(values, default=0) or 1
    eighths = [max(1 if value else 0, round(value / top * height * 8)) for value in values]
    return ["".join(_EIGHTHS[min(8, max(0, each - 8 * row))] for each in eighths) for row in reversed(range(height))]
