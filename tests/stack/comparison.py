"""Compare the lines that services wrote with the lines that Loki stored."""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx2

from tests.waiting import wait_for
from triage.stores.prometheus import sum_samples

PAGE = 5000  # the limit of one response in loki.yml
OURS = '{service_name=~"api|payments"}'
_RECEIVED = "loki_distributor_lines_received_total"
_SECOND = 10**9
_SLICE = 30 * _SECOND
_SETTLE_SECONDS = 7  # more than Alloy's `max_backoff_period` of 5


class Comparison(NamedTuple):
    """The numbers of written and stored lines, and their differences.

    `recounted`: after a crash, Alloy sends some lines again. Loki shows identical lines of one stream once, but counts
    those twice whose first block was already full.
    """

    written: int
    stored: int
    missing: int
    duplicates: int
    unknown: int  # stored, but never written
    recounted: int

    @property
    def equal(self) -> bool:
        """Return whether every written line is stored exactly once."""
        return self.missing == self.duplicates == self.unknown == 0


def compare(written: Iterable[str], stored: Iterable[str], counted: int) -> Comparison:
    """Compare lines by their whole text; `counted` is the number that Loki counts."""
    written_lines, stored_lines = Counter(map(_digest, written)), Counter(map(_digest, stored))
    shown = stored_lines.total()
    return Comparison(
        written=written_lines.total(),
        stored=shown,
        missing=(written_lines - stored_lines).total(),
        duplicates=shown - len(stored_lines),
        unknown=len(stored_lines.keys() - written_lines.keys()),
        recounted=counted - shown,
    )


def _digest(line: str) -> bytes:
    return blake2b(line.encode(), digest_size=12).digest()  # a million lines must fit into memory


def stored_lines(loki: str, selector: str, start: float, end: float) -> Iterator[str]:
    """Yield the text of every stored line between two times."""
    with httpx2.Client(base_url=loki, timeout=60) as client:
        for begin, until in _slices(start, end):
            yield from _between(client, selector, begin, until)


def _slices(start: float, end: float) -> Iterator[tuple[int, int]]:
    """Split a time range into parts, in nanoseconds, because Loki rejects queries that take more than 30 s."""
    first, last = math.floor(start) * _SECOND, math.ceil(end) * _SECOND
    for begin in range(first, last, _SLICE):
        yield begin, min(begin + _SLICE, last)


def _between(client: httpx2.Client, selector: str, begin: int, end: int) -> Iterator[str]:
    while True:
        parameters: dict[str, str | int] = {"start": begin, "end": end, "limit": PAGE, "direction": "forward"}
        streams = _query(client, "query_range", selector, **parameters)
        page = sorted((int(at), text) for stream in streams for at, text in stream["values"])
        if len(page) < PAGE:
            yield from (text for _, text in page)
            return
        # Lines with the last timestamp may be incomplete, so the next page starts with it.
        begin = page[-1][0]
        yield from (text for at, text in page if at < begin)


def counted_lines(loki: str, selector: str, start: float, end: float) -> int:
    """Return the number of lines that Loki counts between two times."""
    total = 0
    with httpx2.Client(base_url=loki, timeout=60) as client:
        for begin, until in _slices(start, end):
            # A LogQL range includes its end but not its start. For pages, it is the other way around.
            count = f"sum(count_over_time({selector}[{(until - begin) // _SECOND}s]))"
            series = _query(client, "query", count, time=until - 1)
            total += sum(int(each["value"][1]) for each in series)
    return total


def _query(client: httpx2.Client, kind: str, query: str, **parameters: str | int) -> list[dict[str, Any]]:
    """Query Loki, with retries while it is starting or busy."""

    def look() -> httpx2.Response | None:
        with suppress(httpx2.TransportError):
            response = client.get(f"/loki/api/v1/{kind}", params={"query": query, **parameters})
            if response.status_code == HTTPStatus.BAD_REQUEST:
                raise AssertionError(response.text)
            return response if response.status_code == HTTPStatus.OK else None
        return None

    result: list[dict[str, Any]] = wait_for(look, query, pause=1).json()["data"]["result"]
    return result


def wait_until_settled(*lokis: str, seconds: float = 300) -> float:
    """Wait until Loki, or all of its replicas, receive no more lines; return the monotonic time of the last one."""
    received, last_change = 0.0, time.monotonic()

    def look() -> bool:
        nonlocal received, last_change
        before = received
        received = sum(sum_samples(httpx2.get(f"{loki}/metrics", timeout=60).text, _RECEIVED) for loki in lokis)
        if received != before or not received:
            last_change = time.monotonic()
        return time.monotonic() - last_change > _SETTLE_SECONDS

    wait_for(look, "the last line", seconds, pause=0.5)
    return last_change
