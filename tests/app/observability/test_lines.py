"""Contract 2: one record is one JSON object on one physical line."""

import errno
import io
import json
import logging
import re
import sys
import threading
import warnings
from typing import Any

import pytest

from app.observability import Observability, configure_logging
from app.observability.testing import capture_logs
from tests.emitted import Emitted, Line, parse

logger = logging.getLogger("tested")


def configure(emitted: Emitted) -> None:
    configure_logging(Observability("tested", instance="127.0.0.1:1"), emitted.stream, "DEBUG")


def line_of(emitted: Emitted, message: object, **extra: object) -> Line:
    configure(emitted)
    logger.info(message, extra=extra)
    (line,) = emitted.lines()
    return line


def test_a_line_says_who_wrote_it(emitted: Emitted) -> None:
    """Outside a request the trace id is `-`, which no client can send."""
    line = line_of(emitted, "hello", user_id=7)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert {
        "level": "info",
        "service": "tested",
        "instance": "127.0.0.1:1",
        "logger": "tested",
        "trace_id": "-",
        "span_id": "-",
        "message": "hello",
        "user_id": 7,
    } == line


def test_timestamps_never_repeat(emitted: Emitted) -> None:
    """Loki tells equal lines of one stream apart by their times alone."""
    configure(emitted)
    record = logging.makeLogRecord({"name": "tested", "levelno": logging.INFO, "levelname": "INFO", "msg": "the same"})
    for _ in range(3):
        logger.handle(record)

    times = [line["timestamp"] for line in emitted.lines()]
    assert len(times) == 3
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    "text", ["two\nlines", "a\u2028b", "a\u2029b", "a\u0085b", '"} {"', "\x1b[31mred", "\x00"], ids=ascii
)
def test_no_text_makes_two_lines(emitted: Emitted, text: str) -> None:
    """Whatever is in a message or a value, readers that split text into lines see one, and it says the same."""
    line = line_of(emitted, text, value=text)

    assert (text, text) == (line["message"], line["value"])


def test_extra_fields_replace_nothing(emitted: Emitted) -> None:
    """A field that comes from outside cannot lie about who wrote the line, or when."""
    line = line_of(emitted, "hello", service="forged", trace_id="forged", timestamp="forged")

    assert "tested" == line["service"]
    assert "forged" not in {line["trace_id"], line["timestamp"]}


def test_a_line_is_never_longer_than_8_kib(emitted: Emitted) -> None:
    """Docker cuts lines at 16 KiB, and half a line is no JSON: a long one is cut here, and says so."""
    line = line_of(emitted, "\u00e9" * 100_000, value="x" * 100_000)

    assert len(emitted.stream.getvalue().encode()) <= 8192
    assert line["truncated"] is True
    assert line["message"].startswith("\u00e9" * 100)


def test_a_cut_line_keeps_what_is_short(emitted: Emitted) -> None:
    """One long field must not cost the others, or the dot of a request would lead to a line without its duration."""
    line = line_of(emitted, "cut", big="x" * 9000, event="request.finished", duration_ms=1.5)

    assert ("request.finished", 1.5, True) == (line["event"], line["duration_ms"], line["truncated"])
    assert len(line["big"]) < 3000


def test_what_is_no_json_is_still_a_line(emitted: Emitted) -> None:
    """Objects are told by their text."""
    line = line_of(emitted, "hello", thing={1, 2}, error=ValueError)

    assert ("{1, 2}", "<class 'ValueError'>") == (line["thing"], line["error"])


def test_a_line_that_cannot_be_written_is_counted(emitted: Emitted) -> None:
    """The caller hears nothing of it, and nothing is printed elsewhere."""
    observability = Observability("tested")
    configure_logging(observability, emitted.stream)
    emitted.stream.close()
    logger.info("lost")

    assert 1 == observability.registry.get_sample_value("log_records_failed_total")


class Narrow(io.RawIOBase):
    """A file that takes a few bytes at a time, and after some of them none."""

    def __init__(self, *takes: int | None) -> None:
        """Take so many bytes each time; `None` is for a pipe that is full, `FULL` for a disk."""
        self._takes = iter(takes)
        self.text = b""

    def writable(self) -> bool:  # noqa: D102 - as in io
        return True

    def write(self, data: Any) -> int | None:  # noqa: D102 - as in io
        take = next(self._takes, len(data))
        if take == FULL:
            raise OSError(errno.ENOSPC, "hunter2")
        self.text += bytes(data)[:take] if take else b""
        return take


FULL = -1


@pytest.mark.parametrize("refusal", [pytest.param(FULL, id="full disk"), pytest.param(None, id="full pipe")])
def test_half_a_line_harms_no_other(refusal: int | None) -> None:
    """A disk may fill up within a line: that one is lost and counted, and the next ones are lines again."""
    raw = Narrow(10, 20, refusal)
    observability = Observability("tested")
    with capture_logs(observability):
        configure_logging(observability, io.TextIOWrapper(io.BufferedWriter(raw)))
        for message in ("lost", "kept", "kept, too"):
            logger.info(message)

    half, *rest = raw.text.decode().splitlines()
    assert 30 == len(half)
    assert ["kept", "kept, too"] == [json.loads(line)["message"] for line in rest]
    assert 1 == observability.registry.get_sample_value("log_records_failed_total")
    assert 2 == observability.registry.get_sample_value("log_records_total", {"level": "info"})


def test_a_line_that_is_taken_in_parts_is_whole() -> None:
    """What a pipe takes only a part of is written on from there."""
    raw = Narrow(10, 20, 30)
    observability = Observability("tested")
    with capture_logs(observability):
        configure_logging(observability, io.TextIOWrapper(io.BufferedWriter(raw)))
        logger.info("hello")

    assert "hello" == json.loads(raw.text)["message"]


def test_a_handler_has_the_lock_that_logging_takes(emitted: Emitted) -> None:
    """From Python 3.13 on, `logging` takes a handler's lock itself, and fails where there is none."""
    configure(emitted)
    (handler,) = logging.getLogger().handlers

    assert handler.lock is not None


def test_lines_are_counted_by_level(emitted: Emitted) -> None:
    """What was written can be compared with what was stored."""
    observability = Observability("tested")
    configure_logging(observability, emitted.stream)
    logger.warning("one")
    logger.warning("two")

    assert 2 == observability.registry.get_sample_value("log_records_total", {"level": "warning"})


def test_an_exception_is_told_by_its_type_and_stack(emitted: Emitted) -> None:
    """The texts of exceptions may hold secrets; where they came from is enough, also for causes."""
    configure(emitted)
    try:
        try:
            int("hunter2")
        except ValueError as exc:
            raise KeyError("hunter2") from exc  # noqa: EM101
    except KeyError:
        logger.exception("it failed")

    (line,) = emitted.lines()
    assert "KeyError" == line["error_type"]
    assert "caused by ValueError" in line["stack"]
    assert "hunter2" not in emitted.stream.getvalue()


def test_warnings_and_uncaught_exceptions_are_lines(emitted: Emitted) -> None:
    """Nothing goes to the stream, or past it, that is not such an object."""
    configure(emitted)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    sys.excepthook(ValueError, ValueError("hunter2"), None)
    unloved = Unloved()
    del unloved

    warned, crashed, uncaught, ignored = parse(emitted.stream.getvalue())
    assert "DeprecationWarning" in warned["message"]
    assert ["ZeroDivisionError", "ValueError", "KeyError"] == [
        line["error_type"] for line in (crashed, uncaught, ignored)
    ]
    assert "hunter2" not in emitted.stream.getvalue()


class Unloved:
    """An object that fails where nobody can be told."""

    def __del__(self) -> None:  # noqa: D105 - the class says it
        raise KeyError("hunter2")  # noqa: EM101


def test_a_thread_may_end_itself(emitted: Emitted) -> None:
    """`sys.exit` in a thread is no failure; Python itself says nothing of it."""
    configure(emitted)
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()

    assert [] == emitted.lines()
