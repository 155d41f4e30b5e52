"""The functions for the tests of a service."""

import logging
import sys
import threading
import warnings

from prometheus_client import CollectorRegistry, Counter

from app.observability.testing import capture_logs, metric_value


def test_captured_lines_can_be_selected_by_their_fields() -> None:
    """Only lines that have all fields are returned."""
    with capture_logs() as captured:
        logging.getLogger("shop").warning("Stock is low", extra={"stock": 2})

    assert ["Stock is low"] == [line["message"] for line in captured.lines(level="warning", stock=2)]
    assert [] == captured.lines(level="error", stock=2)


def test_capture_logs_restores_the_configuration() -> None:
    """Handlers, filters and levels of loggers, hooks, and the record factory."""
    before = logging_state()
    with capture_logs():
        assert before != logging_state()

    assert before == logging_state()


def logging_state() -> list[object]:
    loggers = [logging.getLogger(name) for name in ("", "py.warnings", "uvicorn", "uvicorn.error", "uvicorn.access")]
    return [
        *((each.handlers[:], each.filters[:], each.level, each.propagate) for each in loggers),
        *(sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning),
        logging.getLogRecordFactory(),
    ]


def test_metric_value_reads_a_sample() -> None:
    """It is `None` if there is no such sample."""
    registry = CollectorRegistry()
    Counter("orders", "Orders placed.", ["kind"], registry=registry).labels("mug").inc()

    assert 1 == metric_value("orders_total", registry, kind="mug")
    assert metric_value("orders_total", registry, kind="shirt") is None
