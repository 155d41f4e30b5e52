"""Files are what they are: cut, growing, packed, and full of lines of others."""

import gzip
import json
import os
from pathlib import Path

import pytest

from tests.triage.emitting import T0, Emitting, write
from triage.model import Window
from triage.stores import StoreError
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
    api = Emitting()
    for each in range(number):
        api.finish(T0 + each, 900 if each % 2 else 9, trace_id=f"t{each}", request_id=f"r{each}")
    return [json.dumps(line).encode() for line in api.lines]


def test_foreign_lines(tmp_path: Path) -> None:
    """Whatever stands between our lines is passed over and counted, whether it is JSON or not."""
    ours = lines()
    mixed = [each for pair in zip(ours, (FOREIGN * 2)[: len(ours)], strict=True) for each in pair]
    (tmp_path / "a.log").write_bytes(b"\n".join([*mixed, *FOREIGN]) + b"\r\n" + ours[0][:40])
    store = JsonlStore([tmp_path])
    assert 20 == sum(each.requests for each in store.rates("api", 500))
    assert 20 == sum(sum(each) for each in store.tally("api", Window(0, 1e11), 500, ()).counts)
    assert 20 == len(store.finished("api", "r"))
    assert 1 == len(store.trace("t7").lines)
    assert not any([store.scrapes("api"), store.lives("api"), store.runs()])
    searched = store.searched()
    assert 21 == searched.lines - searched.unreadable  # and one that is ours but for its duration
    assert ("api",) == searched.services


@pytest.mark.parametrize("cut", [1, 20, 300])
def test_a_file_that_is_still_written(tmp_path: Path, cut: int) -> None:
    """A last line that is not whole, of a file or of an archive, does not hide those before it."""
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


def test_names_mean_nothing(tmp_path: Path) -> None:
    """A file is read once however it is named, and a name is no pattern."""
    strange = tmp_path / "a[b]*?\x1b\u202e '\".jsonl"
    strange.write_bytes(b"\n".join(lines()))
    (tmp_path / "ab.txt").write_bytes(b"\n".join(lines()))
    (tmp_path / "link.jsonl").symlink_to(strange)
    store = JsonlStore([tmp_path, strange, tmp_path / "." / strange.name])
    assert 20 == len(store.finished("api"))
    assert 40 == len(JsonlStore([tmp_path, tmp_path / "ab.txt"]).finished("api"))


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    """A path that leads nowhere, to a pipe, to an empty folder or to no archive is a sentence that says what to do."""
    pipe, packed = tmp_path / "pipe", tmp_path / "no.gz"
    os.mkfifo(pipe)
    packed.write_text("plain")
    for path in (tmp_path / "nowhere", tmp_path / "a\0b", pipe, tmp_path, tmp_path / ("x" * 5000), packed):
        with pytest.raises(StoreError, match=r"name|rename"):
            JsonlStore([path]).searched()


def test_nothing_is_written(tmp_path: Path) -> None:
    """Reading leaves the folder as it was."""
    write(tmp_path / "a.jsonl", [json.loads(line) for line in lines()])
    before = sorted(tmp_path.iterdir())
    JsonlStore([tmp_path]).tally("api", Window(0, 1e11), 500, ())
    assert before == sorted(tmp_path.iterdir())
