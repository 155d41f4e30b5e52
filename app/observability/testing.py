"""Helpers for the tests of your service: its log lines and its metrics."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from . import logconfig
from .logconfig import configure_logging

Line = dict[str, Any]


class Captured:
    """What was logged since `capture_logs` began."""

    def __init__(self) -> None:
        """Start empty."""
        self.stream = io.StringIO()

    def lines(self, **fields: object) -> list[Line]:
        """Return the lines, parsed; with `fields`, only those that have all of them."""
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if fields.items() <= line.items()]


@contextmanager
def capture_logs(service: str = "tested", level: str = "DEBUG", **options: Any) -> Iterator[Captured]:  # noqa: ANN401
    """Collect the log lines of a block in memory, and restore the logging configuration after it.

    `options` are those of `configure_logging`.
    """
    loggers = [logging.getLogger(name) for name in ("", *logconfig.logging_config(service)["loggers"], "py.warnings")]
    before = [(each, each.handlers[:], each.filters[:], each.level, each.propagate) for each in loggers]
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, logging.getLogRecordFactory()
    configured = logconfig.configured[:]
    captured = Captured()
    try:
        configure_logging(service, level=level, stream=captured.stream, **options)
        yield captured
    finally:
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks[:3]
        logging.setLogRecordFactory(hooks[3])
        logconfig.configured[:] = configured
        for each, handlers, filters, number, propagate in before:
            each.handlers[:], each.filters[:], each.propagate = handlers, filters, propagate
            each.setLevel(number)


def metric_value(name: str, registry: CollectorRegistry = REGISTRY, **labels: str) -> float | None:
    """Return the value of a sample, such as `http_request_duration_seconds_count`; `None` if there is none."""
    return registry.get_sample_value(name, labels)
