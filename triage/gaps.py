"""When nobody knows what a process did: it was killed, and what it had not yet written or told went with it."""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from triage import histograms
from triage.model import Life, Scrape

_STARTED, _STOPPED = "service.started", "service.stopped"


class Gap(NamedTuple):
    """From the last that is known of a process that was killed to the start of the next."""

    instance: str
    start: float
    end: float


class Process(NamedTuple):
    """The scrapes of one process; `began` is when it was at zero, and `ended` its last word, if it told."""

    instance: str
    began: float | None
    scrapes: Sequence[Scrape]
    ended: Life | None = None


def processes(scrapes: Iterable[Scrape], lives: Sequence[Life]) -> list[Process]:
    """Return the scrapes of each instance, cut wherever another process answered: its counters began at zero."""
    found: list[Process] = []
    for instance, theirs in groupby(sorted(scrapes, key=lambda each: (each.instance, each.at)), lambda each: each[1]):
        its_lives = sorted(life for life in lives if life.instance == instance)
        starts = [life.at for life in its_lives if life.event == _STARTED]
        of_one: list[Scrape] = []
        for scrape in theirs:
            if of_one and (histograms.fell(of_one[-1], scrape) or _within(starts, of_one[-1].at, scrape.at)):
                found.append(_process(of_one, its_lives, found))
                of_one = []
            of_one.append(scrape)
        found.append(_process(of_one, its_lives, found))
    return found


def _process(scrapes: Sequence[Scrape], lives: Sequence[Life], before: Sequence[Process]) -> Process:
    instance = scrapes[0].instance
    since = before[-1].scrapes[-1].at if before and before[-1].instance == instance else float("-inf")
    own = [life.at for life in lives if life.event == _STARTED and since < life.at <= scrapes[0].at]
    after = next((life for life in lives if life.at >= scrapes[-1].at), None)
    told = after is not None and after.event == _STOPPED and after.totals is not None
    return Process(instance, max(own, default=None), scrapes, after if told else None)


def gaps(found: Sequence[Process], lives: Sequence[Life]) -> list[Gap]:
    """Return when processes were killed, as far as lines or scrapes tell."""
    return sorted({*_untold_ends(lives), *_resets(found, lives)}, key=lambda gap: gap.start)


def _untold_ends(lives: Sequence[Life]) -> Iterable[Gap]:
    """Yield each start before which there was a process, by its start or by its requests, that did not tell its end."""
    for _, theirs in groupby(sorted(lives, key=lambda each: (each.instance, each.at)), lambda each: each.instance):
        last: Life | None = None
        for now in theirs:
            known = [at for at in (last and last.at, now.before) if at is not None]
            if now.event == _STARTED and known and (last is None or last.event == _STARTED):
                yield Gap(now.instance, max(known), now.at)
            last = now


def _resets(found: Sequence[Process], lives: Sequence[Life]) -> Iterable[Gap]:
    """Yield each new process that no line tells of."""
    for before, now in pairwise(found):
        start, end = before.scrapes[-1].at, now.scrapes[0].at
        if before.instance == now.instance and not _within(
            [life.at for life in lives if life.instance == now.instance], start, end
        ):
            yield Gap(now.instance, start, end)


def _within(moments: Iterable[float], start: float, end: float) -> bool:
    return any(start < moment <= end for moment in moments)
