"""For the tests of a service that has this folder: what it wrote, and what it counted."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._observability import Observability
from ._setup import UVICORN, configure_logging

Line = dict[str, Any]


class Captured:
    """What one `Observability` emitted since `capture_logs` began."""

    def __init__(self, observability: Observability) -> None:
        """Begin with nothing."""
        self.observability = observability
        self.stream = io.StringIO()

    def lines(self, **fields: object) -> list[Line]:
        """Return the lines, parsed; with `fields`, only those that have all of them."""
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if fields.items() <= line.items()]

    def value(self, metric: str, **labels: str) -> float | None:
        """Return the value of a sample, such as `http_request_duration_seconds_count`; `None` if there is none."""
        return self.observability.registry.get_sample_value(metric, labels)


@contextmanager
def capture_logs(observability: Observability | None = None, level: str = "DEBUG") -> Iterator[Captured]:
    """Write the lines of this process into memory until the block ends; then logging is as it was before.

    Give the `Observability` that wraps your application, made for this test, so that its registry is fresh, too.
    """
    loggers = [logging.getLogger(name) for name in ("", "py.warnings", *UVICORN)]
    before = [(each, each.handlers[:], each.filters[:], each.level, each.propagate) for each in loggers]
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook, logging.Logger.makeRecord)
    captured = Captured(observability or Observability("tested"))
    try:
        configure_logging(captured.observability, captured.stream, level)
        yield captured
    finally:
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks[:3]
        logging.Logger.makeRecord = hooks[3]  # type: ignore[method-assign]
        for each, handlers, filters, number, propagate in before:
            each.handlers[:], each.filters[:], each.propagate = handlers, filters, propagate
            each.setLevel(number)
