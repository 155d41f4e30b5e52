"""Alloy reads the log files of pods, as in deploy/kubernetes/, while they are rotated and Alloy is killed."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Self, TextIO

import pytest

from tests.stack import comparison, stores
from tests.stack.native import ROOT, NativeStack
from tests.waiting import wait_for

_SELECTOR = '{service_name="api"}'


class Container:
    """Writes lines to a file, in the format of containerd and CRI-O."""

    def __init__(self, folder: Path, name: str) -> None:
        """Write to the folder of a container in the folder of its pod."""
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._numbers = count()
        self._file = self._open()
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        """Return this container."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> TextIO:
        return (self._folder / "0.log").open("a", buffering=1)

    def write(self, text: str, flag: str = "F") -> None:
        """Write a line, or a part of one with the flag `P`; the node has another time zone."""
        self._file.write(f"{datetime.now(timezone(timedelta(hours=2))).isoformat()} stdout {flag} {text}\n")

    def rotate(self) -> None:
        """Rename the file, as kubelet does; the runtime still writes to it until it has opened a new one."""
        (self._folder / "0.log").rename(self._folder / f"0.log.{time.time_ns()}")
        self._write_lines()
        self._file.close()
        self._file = self._open()

    def run(self, seconds: float) -> None:
        """Write about 1,000 lines per second."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._write_lines()
            time.sleep(0.01)

    def _write_lines(self) -> None:
        for _ in range(10):
            line = {
                "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "level": "info",
                "service": "api",
                "instance": "api-1",
                "trace_id": f"{next(self._numbers):032x}",
            }
            text = json.dumps(line, separators=(",", ":"))
            self.write(text)
            self.lines.append(text)


@pytest.fixture
def native() -> Iterator[NativeStack]:
    """Run Loki."""
    with NativeStack() as native:
        native.start_loki()
        yield native


def start_alloy(native: NativeStack) -> None:
    """Start Alloy as in its DaemonSet, with the files of pods in another folder."""
    lines = f"{native.folder}/pods/spike-to-log_*/{{api,payments,loadtest}}/*.log"
    native.start_alloy("kubernetes.alloy", lines, ["bash", ROOT / "alloy/start.sh"])


def test_lines_of_pods(native: NativeStack) -> None:
    """Lines are stored without what the runtime adds. Lines of other containers and namespaces are not collected."""
    pod = native.folder / "pods/spike-to-log_api-1_uid"
    with (
        Container(pod, "loki") as other,
        Container(native.folder / "pods/default_api-1_uid", "api") as elsewhere,
        Container(pod, "api") as api,
    ):
        for each in (other, elsewhere):
            each.write('{"service":"other"}')
        api.write('{"service":"api","level":"info",', flag="P")
        api.write('"trace_id":"split"}')
        api.write('"no JSON"')
    start_alloy(native)
    wait_for(lambda: len(stores.lines(native.url("loki"), _SELECTOR)) == 2, "two lines")

    found = stores.lines(native.url("loki"), _SELECTOR)
    assert [{"level": "info", "service": "api", "trace_id": "split"}, "no JSON"] == [line.fields for line in found]
    labels = {"service_name": "api"}
    assert [{**labels, "level": "info", "trace_id": "split"}, labels] == [line.labels for line in found]
    assert [] == stores.lines(native.url("loki"), '{service_name=~".+"} != "api" != "no JSON"')


def test_rotated_files_and_kills(native: NativeStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line is stored once, although files are rotated and Alloy is killed."""
    began = time.time() - 1
    with Container(native.folder / "pods/spike-to-log_api-1_uid", "api") as api:
        start_alloy(native)
        for _ in range(2):
            for _ in range(5):
                api.run(1.5)
                api.rotate()
            api.run(4)  # Alloy saves its positions every ten seconds
            native.servers.kill("alloy")
            api.run(1)
            start_alloy(native)
    loki = native.url("loki")
    comparison.wait_until_settled(loki)
    now = time.time()
    stored = comparison.stored_lines(loki, _SELECTOR, began, now)
    found = comparison.compare(api.lines, stored, comparison.counted_lines(loki, _SELECTOR, began, now))
    with capsys.disabled():
        print(f"\n{found}")
    assert found.equal
    assert found.written > 10_000
