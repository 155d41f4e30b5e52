"""The stores of a running stack, and what is to be asked of them about a run."""

from typing import NamedTuple

from triage.model import Window
from triage.stores.loki import LokiStore
from triage.stores.prometheus import PrometheusStore
from triage.tour.places import Places

#: Seconds for an answer: what takes Loki more than 30 it refuses.
PATIENCE = 60.0

_EDGE = 15.0  # seconds before and after a run, in which there are three scrapes


class Stack(NamedTuple):
    """What Loki and Prometheus have of a window."""

    logs: LokiStore
    metrics: PrometheusStore


def stack(at: Places, window: Window) -> Stack:
    """Return the stores of the servers at these places."""
    return Stack(LokiStore(at.loki, window), PrometheusStore(at.prometheus, window))


def around(run: Window) -> Window:
    """Return when a run was, and a little more on both sides: long enough for the scrapes about it."""
    return Window(run.start - _EDGE, run.end + _EDGE)
