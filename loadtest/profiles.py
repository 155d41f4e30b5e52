"""Load profiles: how the request rate changes over a run."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

_ROUNDING = 1e-9  # the error of sums of fractions


class Stage(NamedTuple):
    """A `share` of the run at `factor` times its rate."""

    share: float
    factor: float


@dataclass(frozen=True)
class Profile:
    """The stages, the default length in seconds, and between which shares of the run a fault is active."""

    stages: tuple[Stage, ...]
    seconds: int = 60
    fault: tuple[float, float] | None = None


PROFILES: Mapping[str, Profile] = {
    "steady": Profile((Stage(1, 1),)),
    "steps": Profile((Stage(0.25, 0.5), Stage(0.25, 1), Stage(0.25, 1.5), Stage(0.25, 2)), seconds=120),
    "spike": Profile((Stage(0.4, 1), Stage(0.2, 3), Stage(0.4, 1))),
    # Half of the time: in a shorter fault, the slow requests would be less than 1 % of all, and p99 would not change.
    "incident": Profile((Stage(1, 1),), fault=(0.25, 0.75)),
    "soak": Profile((Stage(1, 1),), seconds=1800),
}


@dataclass(frozen=True)
class Plan:
    """A profile at a rate in requests per second, for a number of seconds."""

    profile: Profile
    rate: float
    seconds: float

    def stages(self) -> Iterator[tuple[float, float, float]]:
        """Yield the start and the end of each stage, in seconds after the start of the run, and its rate."""
        start = 0.0
        for share, factor in self.profile.stages:
            end = start + share * self.seconds
            yield start, end, factor * self.rate
            start = end

    def rate_at(self, second: float) -> float:
        """Return the rate at a moment, in requests per second; it is 0 after the end."""
        return next((rate for _, end, rate in self.stages() if second < end - _ROUNDING), 0.0)

    @property
    def arrivals(self) -> int:
        """The number of requests."""
        return math.ceil(sum((end - start) * rate for start, end, rate in self.stages()) - _ROUNDING)

    def due(self) -> Iterator[float]:
        """Yield when each request is due, in seconds after the start: evenly spaced, and the same in every run."""
        number, earlier = 0, 0.0
        for start, end, rate in self.stages():
            planned = earlier + rate * (end - start)
            while number < planned - _ROUNDING:
                yield start + (number - earlier) / rate
                number += 1
            earlier = planned
