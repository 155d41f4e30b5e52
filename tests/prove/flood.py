"""`python flood.py RATE SECONDS`: write log lines like those of a service at a constant rate.

It runs in a container of the project's image, which does not contain tests/, so it imports only the standard library.
"""

import sys
import time
from datetime import UTC, datetime

_STEPS = 100  # writes per second
# 330 bytes, like a line of a request at `debug`.
_LINE = (
    '{{"timestamp":"{}.{:06d}Z","level":"info","service":"flood","instance":"flood:1","trace_id":"{:032x}",'
    '"span_id":"{:016x}","logger":"flood","message":"{}"}}\n'
)
_MESSAGE = "one line of many, as long as those of a request are " * 3


def main() -> None:
    """Write RATE lines per second for SECONDS, with unique timestamps that are never whole seconds."""
    rate, seconds = int(sys.argv[1]), int(sys.argv[2])
    start = int(time.time()) + 2
    per_step, interval = rate // _STEPS, 1_000_000 // rate
    for step in range(seconds * _STEPS):
        second, part = divmod(step, _STEPS)
        due = start + second + part / _STEPS
        time.sleep(max(0, due - time.time()))
        stamp = datetime.fromtimestamp(start + second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        first = part * per_step
        text = "".join(
            _LINE.format(stamp, (first + number) * interval + interval // 2, second, first + number, _MESSAGE)
            for number in range(per_step)
        )
        sys.stdout.write(text)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
