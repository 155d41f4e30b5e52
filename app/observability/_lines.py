"""The process's one way out: every line is one JSON object, in the order of time, and is written or counted."""

import sys
from threading import Lock
from time import gmtime, strftime
from typing import TextIO

from ._identity import Identity
from ._json import encode
from ._metrics import Metrics

#: No line is longer, newline included: Docker would cut it in two at 16 KiB, and neither half would be JSON.
LONGEST_LINE = 8 * 1024

#: What every line says; nothing else may be called so.
ALWAYS = frozenset({"timestamp", "level", "service", "instance", "trace_id", "span_id", "logger", "message"})


class Clock:
    """The time of lines: it never comes twice, for Loki tells equal lines of a stream apart by it alone."""

    def __init__(self) -> None:
        """Begin in 1970."""
        self.lock = Lock()
        self._last = 0  # in microseconds
        self._second = 0
        self._text = ""  # of that second, since consecutive lines often share it

    def stamp(self, created: float) -> str:
        """Return a time in seconds since 1970 as RFC 3339; if it is taken, the first one after it that is free.

        To be called by one thread at a time, which is what `lock` is for.
        """
        microseconds = int(created * 1_000_000)
        if microseconds <= self._last:
            microseconds = self._last + 1
        self._last = microseconds
        second = microseconds // 1_000_000
        if second != self._second:
            self._second, self._text = second, strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
        return f"{self._text}{microseconds - second * 1_000_000:06d}Z"


_clock = Clock()  # of this process


class Lines:
    """The lines of one service, on their way to one stream."""

    def __init__(self, service: str, instance: str, metrics: Metrics) -> None:
        """Name the service and the instance that write to stdout, and where lines are counted."""
        self._who = encode({"service": service, "instance": instance}, LONGEST_LINE).decode()[1:-1]
        self._metrics = metrics
        #: What a line may still say after what every line says; that is at most 128 for an id, 64 for the rest.
        self.room = LONGEST_LINE - len(self._who) - 192
        self.open(sys.stdout)

    def open(self, stream: TextIO) -> None:
        """Write to `stream` from now on.

        Past its buffers, where it has any: what a full disk or a closed pipe refuses is to be refused now, and not
        kept, and told of, until the exit.
        """
        self._stream = stream
        self._raw = getattr(getattr(stream, "buffer", None), "raw", None)
        self._mend = b""  # what ends the line of which only a part could be written

    def write(self, created: float, level: str, identity: Identity, says: str) -> None:
        """Write one line; if it cannot be written, count that, and let all go on.

        `says` is the rest of the line, as JSON from the first field's name to the closing brace, at most `room` bytes
        in UTF-8. It begins with `logger` and `message`, and has none of the fields that are written here.
        """
        try:
            with _clock.lock:
                line = (
                    f'{{"timestamp":"{_clock.stamp(created)}","level":"{level}",{self._who},'
                    f'"trace_id":"{identity[0]}","span_id":"{identity[1]}",{says}\n'
                )
                self._put(line.encode())
                self._metrics.written[level] += 1
        except Exception:  # noqa: BLE001 - whatever a stream may raise
            self._metrics.log_failures.inc()

    def _put(self, line: bytes) -> None:
        if self._raw is None:
            self._stream.write(line.decode())
            return
        rest = self._mend + line if self._mend else line
        while rest:
            written = self._raw.write(rest)
            if written is None:  # a stream that does not block, and is full
                raise BlockingIOError
            rest = rest[written:]
            self._mend = b"\n" if rest else b""
