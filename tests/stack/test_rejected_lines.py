"""Lines that Loki rejects do not delay the lines of other services."""

import json
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from tests.stack import stores
from tests.stack.native import NativeStack
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(os.environ.get("STACK") == "up", reason="needs a separate Loki")

DAY = 86_400


def line(service: str, message: str, at: float) -> str:
    """Return a log line as a service writes it."""
    timestamp = datetime.fromtimestamp(at, UTC).isoformat()
    return json.dumps({"timestamp": timestamp, "level": "info", "service": service, "message": message})


def test_rejected_lines_do_not_block_others() -> None:
    """More streams than the limit, a line that is too long, and lines of another year are rejected by themselves."""
    with NativeStack() as native:
        native.start_loki()
        native.start_alloy()

        def write(file: str, lines: Iterable[str]) -> None:
            with (native.lines / f"{file}.jsonl").open("a") as output:
                output.writelines(f"{each}\n" for each in lines)

        def stored(service: str) -> list[str]:
            found = stores.lines(native.url("loki"), f'{{service_name="{service}"}}')
            return [each.fields["message"] for each in found]

        now = time.time()
        expected = ["before"]
        write("ours", [line("ours", "before", now)])
        wait_for(lambda: stored("ours") == expected, "the first line")
        write("many", (line(f"service-{number}", "one of many", now) for number in range(620)))
        write("wrong", (line("wrong", message, at) for message, at in [
            ("x" * 300_000, now), ("too old", now - 30 * DAY), ("too new", now + 30 * DAY), ("accepted", now),
        ]))  # fmt: skip
        wait_for(lambda: stored("wrong") == ["accepted"], "the accepted line of the service with wrong lines")
        for number in range(20):
            expected.append(f"after {number}")
            write("ours", [line("ours", expected[-1], time.time())])
            write("many", [line(f"service-{number + 600}", "again", time.time())])
        wait_for(lambda: stored("ours") == expected, "the lines after the rejected ones")
        assert len(stores.series(native.url("loki"), '{service_name=~".+"}')) == 500
