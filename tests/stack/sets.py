"""Two sets of lines, what was written and what is stored, and how they differ."""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx2

from tests.waiting import eventually
from triage.stores.prometheus import sum_samples

PAGE = 5000  # what loki.yml allows for one answer
OURS = '{service_name=~"api|payments"}'
_RECEIVED = "loki_distributor_lines_received_total"
_SECOND = 10**9
_SLICE = 30 * _SECOND
_LONGER = 7  # seconds; `max_backoff_period` is 5


class Compared(NamedTuple):
    """How many lines were written and are stored, and how many are not in both sets, or twice in Loki.

    `again`: Alloy that was killed reads some lines again, and Loki, which shows a line of one stream
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
        for begin, until in _slices(start, end):
            yield from _between(client, selector, begin, until)


def _slices(start: float, end: float) -> Iterator[tuple[int, int]]:
    """Yield parts of a time, in nanoseconds: what takes Loki longer than 30 s is never answered."""
    first, last = math.floor(start) * _SECOND, math.ceil(end) * _SECOND
    for begin in range(first, last, _SLICE):
        yield begin, min(begin + _SLICE, last)


def _between(client: httpx2.Client, selector: str, begin: int, end: int) -> Iterator[str]:
    while True:
        parameters: dict[str, str | int] = {"start": begin, "end": end, "limit": PAGE, "direction": "forward"}
        streams = _ask(client, "query_range", selector, **parameters)
        page = sorted((int(at), text) for stream in streams for at, text in stream["values"])
        if len(page) < PAGE:
            yield from (text for _, text in page)
            return
        # The lines of its last moment may be cut off: they come with the next page.
        begin = page[-1][0]
        yield from (text for at, text in page if at < begin)


def counted_lines(loki: str, selector: str, start: float, end: float) -> int:
    """Return how many lines Loki counts between two times."""
    found = 0
    with httpx2.Client(base_url=loki, timeout=60) as client:
        for begin, until in _slices(start, end):
            # The range of LogQL has its end, and not its begin; pages have it the other way around.
            count = f"sum(count_over_time({selector}[{(until - begin) // _SECOND}s]))"
            series = _ask(client, "query", count, time=until - 1)
            found += sum(int(each["value"][1]) for each in series)
    return found


def _ask(client: httpx2.Client, kind: str, query: str, **parameters: str | int) -> list[dict[str, Any]]:
    """Ask Loki; one that is just back, or busy, is asked again."""

    def look() -> httpx2.Response | None:
        with suppress(httpx2.TransportError):
            answer = client.get(f"/loki/api/v1/{kind}", params={"query": query, **parameters})
            if answer.status_code == HTTPStatus.BAD_REQUEST:
                raise AssertionError(answer.text)
            return answer if answer.status_code == HTTPStatus.OK else None
        return None

    result: list[dict[str, Any]] = eventually(look, query, pause=1).json()["data"]["result"]
    return result


def settled(loki: str, seconds: float = 300) -> float:
    """Wait until no more lines come, longer than Alloy waits between two tries; return when the last one had come."""
    received, came = 0.0, time.monotonic()

    def look() -> bool:
        nonlocal received, came
        before, received = received, sum_samples(httpx2.get(f"{loki}/metrics", timeout=60).text, _RECEIVED)
        if received != before or not received:
            came = time.monotonic()
        return time.monotonic() - came > _LONGER

    eventually(look, "an end of lines", seconds, pause=0.5)
    return came
