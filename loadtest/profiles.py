"""How the load goes over a run: stages, each a share of the time at a factor of the rate."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

_EVEN = 1e-9  # what sums of fractions may be off


class Stage(NamedTuple):
    """For a `share` of the run, `factor` times the rate."""

    share: float
    factor: float


@dataclass(frozen=True)
class Profile:
    """The stages, how long a run usually is, and between which shares of it a fault of the lab is active."""

    stages: tuple[Stage, ...]
    seconds: int = 60
    fault: tuple[float, float] | None = None


PROFILES: Mapping[str, Profile] = {
    "steady": Profile((Stage(1, 1),)),
    "steps": Profile((Stage(0.25, 0.5), Stage(0.25, 1), Stage(0.25, 1.5), Stage(0.25, 2)), seconds=120),
    "spike": Profile((Stage(0.4, 1), Stage(0.2, 3), Stage(0.4, 1))),
    # Half of the time, or the few slow requests would be less than one of a hundred, and p99 would not move.
    "incident": Profile((Stage(1, 1),), fault=(0.25, 0.75)),
    "soak": Profile((Stage(1, 1),), seconds=1800),
}


@dataclass(frozen=True)
class Plan:
    """A profile at a rate, for so many seconds."""

    profile: Profile
    rate: float
    seconds: float

    def rate_at(self, second: float) -> float:
        """Return the arrivals per second at a moment; there are none after the end."""
        end = 0.0
        for stage in self.profile.stages:
            end += stage.share * self.seconds
            if second < end - _EVEN:
                return stage.factor * self.rate
        return 0.0

    @property
    def arrivals(self) -> int:
        """How many there are in all."""
        return math.ceil(
            sum(share * factor for share, factor in self.profile.stages) * self.rate * self.seconds - _EVEN
        )

    def due(self) -> Iterator[float]:
        """Yield when each arrival is due, in seconds after the start; evenly, so the same in every run."""
        number, before, start = 0, 0.0, 0.0
        for share, factor in self.profile.stages:
            length, rate = share * self.seconds, factor * self.rate
            while number < before + rate * length - _EVEN:
                yield start + (number - before) / rate
                number += 1
            before, start = before + rate * length, start + length
