"""`python flood.py RATE SECONDS`: lines as a service writes them, as many in each second, from one container.

It runs in a container of our image, which has nothing of tests/ but this text.
"""

import sys
import time
from datetime import UTC, datetime

_STEPS = 100  # writes in a second
# 330 bytes, like the lines of a request at `debug`.
_LINE = (
    '{{"timestamp":"{}.{:06d}Z","level":"info","service":"flood","instance":"flood:1","trace_id":"{:032x}",'
    '"span_id":"{:016x}","logger":"flood","message":"{}"}}\n'
)
_MESSAGE = "one line of many, as long as those of a request are " * 3


def main() -> None:
    """Write RATE lines a second for SECONDS, each with a time of its own, and none on a whole second."""
    rate, seconds = int(sys.argv[1]), int(sys.argv[2])
    begin = int(time.time()) + 2
    each, apart = rate // _STEPS, 1_000_000 // rate
    for step in range(seconds * _STEPS):
        second, part = divmod(step, _STEPS)
        due = begin + second + part / _STEPS
        time.sleep(max(0, due - time.time()))
        stamp = datetime.fromtimestamp(begin + second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        first = part * each
        text = "".join(
            _LINE.format(stamp, (first + number) * apart + apart // 2, second, first + number, _MESSAGE)
            for number in range(each)
        )
        sys.stdout.write(text)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
