"""One walk, for tests and for CI."""

import time

from triage.errors import MISMATCH, CannotTellError
from triage.tour.guide import look
from triage.tour.places import Places
from triage.tour.say import Voice
from triage.tour.walk import Walk

_PAUSE = 2.5  # seconds between two looks
_PATIENCE = 60.0  # seconds for a request, and for its lines to come or to be late
_STEADY = 3  # looks: what is broken once may be about to start


def once(places: Places, voice: Voice) -> int:
    """Return 0 if the walk works, or 1 and say where it breaks; `CannotTellError` if nobody makes requests."""
    walk, began = Walk(places), time.time()
    seen: list[object] = []
    while (now := time.time()) < began + _PATIENCE:
        outcome = look(walk, now)
        seen.append(outcome.state)
        if outcome.walked is not None:
            voice.whole(outcome.walked, now, again=False)
            return 0
        if outcome.broken is not None and seen[-_STEADY:] == [outcome.state] * _STEADY:
            voice.broken(outcome.broken, now)
            return MISMATCH
        time.sleep(_PAUSE)
    msg = f"Nobody makes requests, so there is nothing to walk along: start a run at {places.open_locust}"
    raise CannotTellError(msg)
