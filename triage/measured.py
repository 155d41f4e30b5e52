"""What crosses the same seams about a measured run: what it was to be, and what it measured."""

from collections.abc import Mapping
from typing import NamedTuple

from triage.model import Sent


class RunFacts(NamedTuple):
    """What a run was to be, and whether it came to its end; `ended` is None where nobody wrote of it.

    `rate` is how many requests each second should have been sent, over all of its `seconds`.
    """

    name: str
    began: float
    ended: float | None
    interrupted: bool
    host: str
    profile: str
    loop: str
    seconds: float
    rate: float
    workers: int


class Generator(NamedTuple):
    """A process that made load: its worst five seconds, in shares of a core, and whether it ended in good order."""

    worker: str
    cpu: float | None
    stopped: bool


class Latencies(NamedTuple):
    """The requests of a run or of one of its routes, how many of them failed, and exact quantiles at the client."""

    requests: int
    failures: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Timed(NamedTuple):
    """A request as the load saw it, and how long the server said that it took."""

    sent: Sent
    server_ms: float | None

    @property
    def difference_ms(self) -> float | None:
        """What the server did not see: the network, and waiting at either end."""
        return None if self.server_ms is None else round(self.sent.client_ms - self.server_ms, 3)


class Measured(NamedTuple):
    """What a run measured: all requests, those of each route by `METHOD route`, and those that are worth a look.

    `in_time` were sent when they were due; `ended` is when the last answer came. `failed` are not in `slowest`.
    """

    overall: Latencies | None
    routes: Mapping[str, Latencies]
    in_time: int
    ended: float | None
    slowest: tuple[Timed, ...]
    failed: tuple[Timed, ...]
