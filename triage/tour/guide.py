"""The tour, long-lived: it walks every few seconds, and speaks when something has changed."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from triage.stores import StoreError, _promql
from triage.tour import spikes
from triage.tour.hops import BrokenError, Hop, RestingError, WaitingError
from triage.tour.places import Places
from triage.tour.say import Voice
from triage.tour.walk import Walk, Walked

_PAUSE, _SOON = 5.0, 1.0  # seconds between two looks; while parts start, less
_START, _YET = 60.0, 10.0  # seconds in which parts may still be starting; after fewer, that is said
_HICCUP = 12.0  # seconds in which something may be restarting
_REST = 20.0  # seconds without a request that are worth a word
_APART = 10.0  # seconds between two spikes
_QUIET = 60.0  # seconds between two words about them
_STORED = 0.99
_RATIO = "job:log_lines_stored:ratio10m"

State = Hop | str
WHOLE, RESTING = "whole", "resting"


class Outcome(NamedTuple):
    """What a look found: a state that may be said, and what belongs to it. `None` is not known yet."""

    state: State | None
    walked: Walked | None = None
    broken: BrokenError | None = None


def look(walk: Walk, now: float) -> Outcome:
    """Walk once."""
    try:
        return Outcome(WHOLE, walked=walk.step(now))
    except BrokenError as exc:
        return Outcome(exc.hop, broken=exc)
    except RestingError:
        return Outcome(RESTING)
    except WaitingError:
        return Outcome(None)


class Guide:
    """What has been said, so that nothing is said twice."""

    def __init__(self, places: Places, voice: Voice, healthy: Path | None, now: float) -> None:
        """Begin with everything unsaid; `healthy` is touched by every look that finds nothing broken."""
        self._at, self._voice, self._healthy = places, voice, healthy
        self._walk = Walk(places)
        self._began = now
        self._said: State | None = None
        self._now: tuple[State | None, float] = (None, now)
        self._spike_end, self._spike_said = 0.0, 0.0
        self._lost: Mapping[str, float] = {}
        self._yet: set[Hop] = set()

    @property
    def speaks(self) -> bool:
        """Whether the first word is said."""
        return self._said is not None

    def look(self, now: float) -> None:
        """Look once, and say what is new."""
        outcome = look(self._walk, now)
        if outcome.broken is None and self._healthy is not None:
            self._healthy.touch()
        if outcome.state is not None:
            if outcome.state != self._now[0]:
                self._now = (outcome.state, now)
            if outcome.state != self._said and now - self._now[1] >= self._patience(outcome.state):
                self._say(outcome, now)
            elif outcome.broken is not None and not self.speaks and now - self._began >= _YET:
                self._say_starting(outcome.broken, now)
        if outcome.state == WHOLE:
            self._tell(now)

    def _patience(self, state: State) -> float:
        if state == WHOLE:
            return 0.0
        if state == RESTING:
            return _REST
        return _HICCUP if self.speaks else _START

    def _say(self, outcome: Outcome, now: float) -> None:
        if outcome.broken is not None:
            self._voice.broken(outcome.broken, now)
        elif outcome.walked is not None:
            self._voice.whole(outcome.walked, now, again=self._said is not None)
        else:
            self._voice.resting(now)
        self._said = outcome.state

    def _say_starting(self, broken: BrokenError, now: float) -> None:
        if broken.hop not in self._yet:
            self._voice.starting(broken, now)
            self._yet.add(broken.hop)

    def _tell(self, now: float) -> None:
        """Tell of spikes and of lost lines, where that is known."""
        try:
            self._tell_spike(now)
            self._tell_lost(now)
        except StoreError:
            return  # the next walk says whose fault it is

    def _tell_spike(self, now: float) -> None:
        if now - self._spike_said < _QUIET:
            return
        spike = spikes.last(self._at.prometheus, now)
        if spike is None:
            return
        if not self._spike_said:
            found = spikes.slow_request(self._at.prometheus, self._at.loki, spike, now)
            if found is None:
                return
            self._voice.story(found, now)
            self._spike_said = now
        elif spike.start > self._spike_end + _APART:
            self._voice.spike(spike, now)
            self._spike_said = now
        self._spike_end = max(spike.end, self._spike_end)

    def _tell_lost(self, now: float) -> None:
        ratios = _promql.now(self._at.prometheus, f"{_RATIO} < {_STORED}")
        lost = {labels.get("job", ""): ratio for labels, ratio in ratios}
        for job in lost.keys() - self._lost.keys():
            self._voice.lost(job, lost[job], now)
        self._lost = lost


def keep_looking(places: Places, voice: Voice, healthy: Path | None) -> None:
    """Look until somebody stops it."""
    voice.welcome()
    guide = Guide(places, voice, healthy, time.time())
    while True:
        guide.look(time.time())
        time.sleep(_PAUSE if guide.speaks else _SOON)
