"""The stores of a running stack."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from triage.errors import CannotTellError
from triage.model import Window
from triage.stores.loki import LokiStore
from triage.stores.prometheus import PrometheusStore
from triage.tour.places import places

if TYPE_CHECKING:
    from triage.stores.jsonl import JsonlStore

_PATIENCE = 60.0  # seconds: what takes Loki more than 30 it refuses
_EDGE = 15.0  # seconds before and after a run, in which there are three scrapes


class Stack(NamedTuple):
    """What Loki and Prometheus have of a window."""

    logs: LokiStore
    metrics: PrometheusStore


def stack(environment: Mapping[str, str], window: Window) -> Stack:
    """Return the stores of the servers that the environment names."""
    at = places(environment, _PATIENCE)
    return Stack(LokiStore(at.loki, window), PrometheusStore(at.prometheus, window))


def around(load: "JsonlStore", run: str) -> Window:
    """Return when the requests of a run were under way, and a little more: long enough for the scrapes about it."""
    sent = load.sent(run)
    if not sent:
        msg = f"The run {run} sent nothing: there is nothing to compare"
        raise CannotTellError(msg)
    return Window(sent[0].at - _EDGE, max(each.at + each.client_ms / 1000 for each in sent) + _EDGE)
