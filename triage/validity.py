"""Why a run measured nothing that can be trusted."""

from collections.abc import Iterable, Sequence

from triage.measured import Generator, Measured, RunFacts

#: A generator that needs more of its core measures its own waiting, too.
MOST_CPU = 0.9
#: A run that made less of what was planned did not measure what it was to measure.
LEAST_ACHIEVED = 0.99


_CLOSED = "closed"


def why_invalid(facts: RunFacts, measured: Measured, generators: Sequence[Generator]) -> Iterable[str]:
    """Yield a sentence for each reason; a run that has none is valid."""
    if facts.ended is None:
        yield "The run has no end: it is still going on, or it was killed."
    elif facts.interrupted:
        yield "The run was interrupted before its end."
    yield from _lost(facts, generators)
    busy = [each for each in generators if each.cpu is not None and each.cpu > MOST_CPU]
    for each in busy:
        yield (
            f"Generator {each.worker} was busy: {each.cpu:.1%} of its core over five seconds, which is more than "
            f"{MOST_CPU:.0%}; it measured its own waiting, too. Take more --workers, or a lower --rate."
        )
    achieved = measured.in_time / facts.seconds
    if measured.overall is None:
        yield "No request was made."
    elif achieved / facts.rate < LEAST_ACHIEVED:
        yield _slower(facts, achieved, idle=not busy)


def _lost(facts: RunFacts, generators: Sequence[Generator]) -> Iterable[str]:
    for each in generators:
        if not each.stopped and facts.ended is not None:
            yield f"Generator {each.worker} was lost: it did not end in good order."
    if (missing := facts.workers - len(generators)) > 0:
        yield f"{missing} of {facts.workers} generators never came."


def _slower(facts: RunFacts, achieved: float, *, idle: bool) -> str:
    made = f"{achieved:.1f} of the planned {facts.rate:.1f} requests each second were "
    if facts.loop == _CLOSED and idle:
        return (
            f"Only {made}made, while the generators were idle: the service made them wait. A closed loop hides such "
            "waits, for what is not sent meanwhile is not measured: take --loop open to see them."
        )
    return f"Only {made}sent when they were due, which is less than {LEAST_ACHIEVED:.0%}."
