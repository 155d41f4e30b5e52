"""One walk, for tests and for CI."""

import time

from triage.errors import MISMATCH, CannotTellError
from triage.tour.guide import RESTING, look
from triage.tour.places import Places
from triage.tour.say import Voice
from triage.tour.walk import Walk

_PAUSE = 2.5  # seconds between two looks
_PATIENCE = 60.0  # seconds for a request, and for its lines to come or to be late
_REST = 15.0  # seconds without a request
_STEADY = 6.0  # seconds in which what is broken may be about to start


def once(places: Places, voice: Voice) -> int:
    """Return 0 if the walk works, or 1 and say where it breaks; `CannotTellError` if nobody makes requests."""
    walk, began = Walk(places), time.time()
    since: tuple[object, float] = (None, began)
    while True:
        now = time.time()
        outcome, waited = look(walk, now), now - began
        if outcome.walked is not None:
            voice.whole(outcome.walked, now, again=False)
            return 0
        if outcome.state != since[0]:
            since = (outcome.state, now)
        if outcome.broken is not None and (now - since[1] >= _STEADY or waited > _PATIENCE):
            voice.broken(outcome.broken, now)
            return MISMATCH
        if waited > (_REST if outcome.state == RESTING else _PATIENCE):
            msg = f"Nobody makes requests, so there is nothing to walk along: start a run at {places.open_locust}"
            raise CannotTellError(msg)
        time.sleep(_PAUSE)
