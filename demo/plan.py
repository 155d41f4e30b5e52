"""What a run of the demo is like."""

import random
from pathlib import Path
from typing import NamedTuple

#: The users that the service has from the start, of whom so many suffer.
ALL_USERS = range(1, 201)
_UNLUCKY = 8

#: The names of the fault lab, and what a person is told of them.
FAULTS = {
    "slow-query": "the database is slow",
    "database-timeout": "the database does not answer",
}
NONE = "none"


class Plan(NamedTuple):
    """How long, how many, which fault for whom, and where the files go."""

    duration: int
    users: int
    seed: int
    fault: str
    folder: Path

    @property
    def begins(self) -> float:
        """When the fault begins, in seconds after the load."""
        return self.duration * 0.4

    @property
    def lasts(self) -> int:
        """How long it lasts, in seconds: there is a before and an after, and enough in between for a cause to show."""
        return max(round(self.duration * 0.27), min(12, round(self.duration * 0.4)))

    @property
    def unlucky(self) -> list[int]:
        """The users who suffer."""
        return sorted(random.Random(self.seed).sample(ALL_USERS, _UNLUCKY))  # noqa: S311 - no secret
