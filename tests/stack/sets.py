"""Two sets of lines, what was written and what is stored, and how they differ."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

import httpx2

from tests.waiting import eventually

PAGE = 5000  # what loki.yml allows for one answer
_SECOND = 10**9
_SLICE = 30 * _SECOND
_LONGER = 7  # seconds; `max_backoff_period` is 5


class Compared(NamedTuple):
    """How many lines were written and are stored, and how many are not in both sets, or twice in Loki.

    `again`: Alloy that was killed reads up to ten seconds of lines again, and Loki, which shows a line of one stream
    and one time once, counts some of those twice (it knows a line again only until the block of it is full).
    """

    written: int
    stored: int
    missing: int
    twice: int
    unknown: int  # stored, but never written
    again: int

    @property
    def equal(self) -> bool:
        """Whether the two sets are the same."""
        return self.missing == self.twice == self.unknown == 0


def compare(written: Iterable[str], stored: Iterable[str], counted: int) -> Compared:
    """Compare lines by their whole text; `counted` is how many Loki counts."""
    ours, theirs = Counter(map(_digest, written)), Counter(map(_digest, stored))
    shown = theirs.total()
    return Compared(
        written=ours.total(),
        stored=shown,
        missing=(ours - theirs).total(),
        twice=shown - len(theirs),
        unknown=len(theirs.keys() - ours.keys()),
        again=counted - shown,
    )


def _digest(line: str) -> bytes:
    return blake2b(line.encode(), digest_size=12).digest()  # a million lines have to fit


def stored_lines(loki: str, selector: str, start: float, end: float) -> Iterator[str]:
    """Yield the text of every line between two times, page by page."""
    with httpx2.Client(base_url=loki, timeout=60) as client:
        first, last = int(start * _SECOND), int(end * _SECOND)
        for begin in range(first, last, _SLICE):
            yield from _between(client, selector, begin, min(begin + _SLICE, last))


def _between(client: httpx2.Client, selector: str, begin: int, end: int) -> Iterator[str]:
    while True:
        parameters: dict[str, str | int] = {
            "query": selector,
            "start": begin,
            "end": end,
            "limit": PAGE,
            "direction": "forward",
        }
        answer = client.get("/loki/api/v1/query_range", params=parameters).raise_for_status().json()
        streams = answer["data"]["result"]
        page = sorted((int(at), text) for stream in streams for at, text in stream["values"])
        if len(page) < PAGE:
            yield from (text for _, text in page)
            return
        # The lines of its last moment may be cut off: they come with the next page.
        begin = page[-1][0]
        yield from (text for at, text in page if at < begin)


def counted_lines(loki: str, selector: str, start: float, end: float) -> int:
    """Return how many lines Loki counts between two times."""
    parameters: dict[str, str | int] = {
        "query": f"sum(count_over_time({selector}[{int(end - start)}s]))",
        "time": int(end * _SECOND),
    }
    answer = httpx2.get(f"{loki}/loki/api/v1/query", params=parameters, timeout=120).raise_for_status().json()
    return sum(int(found["value"][1]) for found in answer["data"]["result"])


def settled(loki: str, selector: str, start: float, seconds: float = 120) -> float:
    """Wait until no more lines come, longer than Alloy waits between two tries; return when the last one had come."""
    counts: list[int] = []
    came = [time.monotonic()]

    def look() -> bool:
        counts.append(counted_lines(loki, selector, start, time.time()))
        if counts[-1] != counts[-2:][0] or not counts[-1]:
            came.append(time.monotonic())
        return time.monotonic() - came[-1] > _LONGER

    eventually(look, f"an end of the lines of {selector}", seconds, pause=0.5)
    return came[-1]
