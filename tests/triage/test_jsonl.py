"""Files of log lines may be incomplete, still growing, compressed, or full of other lines."""

import gzip
import json
import os
from pathlib import Path

import pytest

from tests.triage.fake_service import T0, FakeService, write
from triage.errors import StoreError
from triage.models import Window
from triage.stores.jsonl import JsonlStore

FOREIGN = [
    b"Listening on port 8000",
    b"[1, 2]",
    b"5",
    b'"text"',
    b"null",
    b"{}",
    b'{"a": NaN}',
    b"{'a': 1}",
    b"",
    b"\xff\xfe",
    b'{"timestamp": 5, "service": "api", "event": "request.finished"}',
    b"a\x00b",
    b"a\x01b",
    b'"unbalanced',
    b"\x1b[31m",
    b'{"timestamp":"yesterday","service":"api","event":"request.finished","duration_ms":1}',
    b"[" * 5000,
    b"x" * 3_000_000,
    b'{"service":"api","event":"request.finished"}',
    b'{"timestamp":"2026-11-23T03:14:00.000000Z","trace_id":"t0"}',
    b'{"timestamp":"2026-11-23T03:14:00Z","service":"api","event":"request.finished","duration_ms":"slow"}',
    b'{"event":"metric.sample","metric":"http_request_duration_seconds_bucket","le":"x","service":"api"}',
]


def lines(number: int = 20) -> list[bytes]:
    api = FakeService()
    for each in range(number):
        api.finish(T0 + each, 900 if each % 2 else 9, trace_id=f"t{each}", request_id=f"r{each}")
    return [json.dumps(line).encode() for line in api.lines]


def test_foreign_lines(tmp_path: Path) -> None:
    """Other lines between log lines are skipped and counted, whether they are JSON or not."""
    logged = lines()
    mixed = [each for pair in zip(logged, (FOREIGN * 2)[: len(logged)], strict=True) for each in pair]
    (tmp_path / "a.log").write_bytes(b"\n".join([*mixed, *FOREIGN]) + b"\r\n" + logged[0][:40])
    store = JsonlStore([tmp_path])
    assert 20 == sum(each.requests for each in store.rates("api", 500))
    assert 20 == sum(sum(each) for each in store.count_fields("api", Window(0, 1e11), 500, ()).counts)
    assert 20 == len(store.finished("api", "r"))
    assert 1 == len(store.trace("t7").lines)
    assert not any([store.scrapes("api"), store.process_events("api"), store.runs()])
    summary = store.summary()
    assert 21 == summary.lines - summary.unreadable  # one of the others only has an invalid duration
    assert ("api",) == summary.services


@pytest.mark.parametrize(
    "form",
    [
        b"api-1  | %b",
        b"api-1  | 2026-11-23T03:14:00.123456789Z %b",
        b"\x1b[36mapi-1  | \x1b[0m%b",
        b"\x1b[?2004l%b\x1b[0m",
        b"[pod/api-5d8f/api] %b",
        b"2026-11-23T03:14:00.123456789Z %b",
        b"%b\r",
        b"api-1  | %b\r",
    ],
    ids=repr,
)
def test_saved_output(tmp_path: Path, form: bytes) -> None:
    """The output of `docker compose logs` and of a terminal is read with its prefixes, escape codes and line ends."""
    file = tmp_path / "saved.log"
    file.write_bytes(b"".join(form % each + b"\n" for each in [b"Attaching to api-1", *lines(), b"exited with code 0"]))
    store = JsonlStore([file])
    assert 20 == len(store.finished("api"))
    assert 20 == sum(sum(each) for each in store.count_fields("api", Window(0, 1e11), 500, ()).counts)
    assert ["Request finished"] == [line.fields["message"] for line in store.trace("t7").lines]
    summary = store.summary()
    assert (22, 2) == (summary.lines, summary.unreadable)


@pytest.mark.parametrize("cut", [1, 20, 300])
def test_incomplete_files(tmp_path: Path, cut: int) -> None:
    """An incomplete last line of a file or a gzip archive does not hide the lines before it."""
    whole = b"\n".join(lines(2000))
    (tmp_path / "a.jsonl").write_bytes(whole[:-cut])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(whole.replace(b'"api"', b'"packed"'))[:-cut])
    (tmp_path / "c.jsonl.gz").write_bytes(b"")
    store = JsonlStore([tmp_path])
    assert 1999 - cut // 200 <= len(store.finished("api")) < 2000
    assert 1900 <= len(store.finished("packed")) <= 2000
    with (tmp_path / "a.jsonl").open("ab") as growing:
        growing.write(whole[-cut:])
    assert 2000 == len(store.finished("api"))


def test_file_names(tmp_path: Path) -> None:
    """A file is read once, even if it is named several times, and its name is not a glob pattern."""
    special = tmp_path / "a[b]*?\x1b\u202e '\".jsonl"
    special.write_bytes(b"\n".join(lines()))
    (tmp_path / "ab.txt").write_bytes(b"\n".join(lines()))
    (tmp_path / "link.jsonl").symlink_to(special)
    store = JsonlStore([tmp_path, special, tmp_path / "." / special.name])
    assert 20 == len(store.finished("api"))
    assert 40 == len(JsonlStore([tmp_path, tmp_path / "ab.txt"]).finished("api"))


def test_unreadable_paths(tmp_path: Path) -> None:
    """A missing file, a pipe, an empty folder and an invalid archive are errors that suggest what to do."""
    pipe, packed = tmp_path / "pipe", tmp_path / "no.gz"
    os.mkfifo(pipe)
    packed.write_text("plain")
    for path in (tmp_path / "nowhere", tmp_path / "a\0b", pipe, tmp_path, tmp_path / ("x" * 5000), packed):
        with pytest.raises(StoreError, match=r"name|rename"):
            JsonlStore([path]).summary()


def test_reading_has_no_side_effects(tmp_path: Path) -> None:
    """Reading does not change the folder."""
    write(tmp_path / "a.jsonl", [json.loads(line) for line in lines()])
    before = sorted(tmp_path.iterdir())
    JsonlStore([tmp_path]).count_fields("api", Window(0, 1e11), 500, ())
    assert before == sorted(tmp_path.iterdir())
