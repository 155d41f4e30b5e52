"""Everything that the process logs is written as JSON lines to one stream, and is counted."""

import io
import json
import logging
import logging.config
import queue
import re
import sys
import threading
import warnings
from logging.handlers import QueueHandler, QueueListener

import pytest
from prometheus_client import CollectorRegistry

from app.observability import configure_logging, continue_trace
from app.observability.testing import capture_logs, metric_value
from tests.emitted import Emitted, Line, parse

logger = logging.getLogger("tested")


@pytest.fixture
def default_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the hooks of pytest, which report each call as an error."""
    monkeypatch.setattr("sys.excepthook", sys.__excepthook__)
    monkeypatch.setattr("sys.unraisablehook", sys.__unraisablehook__)
    monkeypatch.setattr("threading.excepthook", threading.__excepthook__)


def configure(emitted: Emitted, **options: object) -> None:
    configure_logging("tested", "127.0.0.1:1", level="DEBUG", stream=emitted.stream, **options)  # type: ignore[arg-type]


def test_a_line_has_the_standard_fields(emitted: Emitted) -> None:
    """Outside of a request the trace id is `-`, which is not valid in a header."""
    configure(emitted)
    logger.info("hello %s", "world", extra={"user_id": 7})

    (line,) = emitted.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert {
        "level": "info", "service": "tested", "instance": "127.0.0.1:1", "trace_id": "-", "span_id": "-",
        "logger": "tested", "message": "hello world", "user_id": 7,
    } == line  # fmt: skip


@pytest.mark.parametrize(
    ("number", "level"), [(5, "debug"), (20, "info"), (25, "info"), (35, "warning"), (45, "error"), (60, "critical")]
)
def test_levels_are_ranked_by_their_number(emitted: Emitted, number: int, level: str) -> None:
    """Custom levels are logged as one of the five standard levels, because dashboards use these."""
    configure_logging("tested", level=1, stream=emitted.stream)
    logger.log(number, "hello")

    (line,) = emitted.lines()
    assert level == line["level"]


def test_ids_are_added_when_the_record_is_created(emitted: Emitted) -> None:
    """A `QueueListener` formats records in another thread, which has no request."""
    configure(emitted)
    root = logging.getLogger()
    (stdout,) = root.handlers
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    root.handlers[:] = [QueueHandler(records)]
    with continue_trace({"X-Request-ID": "job-7"}):
        logger.info("in the job")
    listener = QueueListener(records, stdout)
    listener.start()
    listener.stop()

    (line,) = emitted.lines()
    assert ("job-7", "in the job") == (line["trace_id"], line["message"])


def test_lines_are_counted_by_level(emitted: Emitted, registry: CollectorRegistry) -> None:
    """So that the number of written lines can be compared with the number of stored ones."""
    configure(emitted)
    before = metric_value("log_records_total", registry, level="warning") or 0
    logger.warning("one")
    logger.warning("two")

    assert before + 2 == metric_value("log_records_total", registry, level="warning")


def test_a_line_that_cannot_be_written_is_counted(
    emitted: Emitted, registry: CollectorRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The caller gets no exception, and `logging` prints no traceback."""
    configure(emitted)
    before = metric_value("log_records_failed_total", registry) or 0
    emitted.stream.close()
    logger.info("lost")

    assert before + 1 == metric_value("log_records_failed_total", registry)
    assert ("", "") == capsys.readouterr()


def test_the_encoding_is_utf_8_in_every_locale() -> None:
    """Otherwise a line that the encoding cannot represent would be lost."""
    raw = io.BytesIO()
    with capture_logs():
        configure_logging("tested", stream=io.TextIOWrapper(raw, encoding="ascii"))
        logger.info("caf\u00e9 \u2603")

        assert "caf\u00e9 \u2603" == json.loads(raw.getvalue().decode("utf-8"))["message"]


def raise_key_error() -> None:
    try:
        int("hunter2")
    except ValueError as exc:
        raise KeyError("hunter2") from exc  # noqa: EM101


def log_exception(emitted: Emitted, **options: object) -> Line:
    configure(emitted, **options)
    try:
        raise_key_error()
    except KeyError:
        logger.exception("it failed")
    (line,) = emitted.lines()
    return line


def test_an_exception_has_its_type_message_and_stack(emitted: Emitted) -> None:
    """So have its causes; the stack has no source code."""
    line = log_exception(emitted)

    assert ("KeyError", "'hunter2'") == (line["error_type"], line["error_message"])
    assert line["stack"][1].endswith(" raise_key_error")
    assert any(entry.startswith("caused by ValueError: invalid literal") for entry in line["stack"])


@pytest.mark.parametrize("safe", [(), (LookupError,)], ids=["none", "its base class"])
def test_messages_can_be_restricted_to_safe_exceptions(emitted: Emitted, safe: tuple[type[Exception], ...]) -> None:
    """Other messages may contain data of users; type and stack are always logged."""
    line = log_exception(emitted, safe_exceptions=safe)

    assert safe == () or "'hunter2'" == line.pop("error_message")
    assert "hunter2" not in json.dumps(line)
    assert "caused by ValueError" in line["stack"]


@pytest.mark.usefixtures("default_hooks")
def test_warnings_and_uncaught_exceptions_are_logged(emitted: Emitted) -> None:
    """The exception that ends the process is logged with its message, also if messages are restricted."""
    configure(emitted, safe_exceptions=())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: int("secret"))
    thread.start()
    thread.join()
    sys.excepthook(ValueError, ValueError("no port"), None)
    raises = RaisesWhenCollected()
    del raises

    warned, crashed, uncaught, ignored = parse(emitted.stream.getvalue())
    assert "DeprecationWarning" in warned["message"]
    assert ["ValueError", "ValueError", "KeyError"] == [line["error_type"] for line in (crashed, uncaught, ignored)]
    assert "no port" == uncaught["error_message"]
    assert "secret" not in emitted.stream.getvalue()


class RaisesWhenCollected:
    """An object whose finalizer fails."""

    def __del__(self) -> None:  # noqa: D105
        raise KeyError("secret")  # noqa: EM101


def test_hooks_that_were_installed_earlier_are_called(emitted: Emitted) -> None:
    """Once, even if logging is configured twice; crash reporters use these hooks."""
    called: list[str] = []
    with capture_logs():
        sys.excepthook = lambda *_: called.append("sys")
        threading.excepthook = lambda *_: called.append("threading")
        sys.unraisablehook = lambda *_: called.append("unraisable")
        configure(emitted)
        configure(emitted)
        sys.excepthook(ValueError, ValueError(), None)
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        raises = RaisesWhenCollected()
        del raises

    assert ["sys", "threading", "unraisable"] == called


@pytest.mark.usefixtures("default_hooks")
def test_a_thread_may_end_with_sys_exit(emitted: Emitted) -> None:
    """It is not logged, because Python does not report it either."""
    configure(emitted)
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()

    assert [] == emitted.lines()


def test_the_formatter_works_in_another_dictconfig() -> None:
    """With any handler."""
    stream = io.StringIO()
    with capture_logs():
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"json": {"()": "app.observability.JsonFormatter", "service": "shop"}},
                "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": stream}},
                "root": {"handlers": ["stdout"], "level": "INFO"},
            }
        )
        with continue_trace({"X-Request-ID": "mine"}):
            logger.info("hello")

    (line,) = parse(stream.getvalue())
    assert ("shop", "mine", "hello") == (line["service"], line["trace_id"], line["message"])
