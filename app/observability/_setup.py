"""The process's one way out for lines: the handler that writes them, and everything that would write elsewhere."""

import logging
import sys
import threading
from types import TracebackType
from typing import TextIO

from ._failure import was_told
from ._logging import JsonFormatter, level_of, logger
from ._observability import Observability


class LineHandler(logging.StreamHandler[TextIO]):
    """Write lines and count them; a line that cannot be written is counted, and the request goes on."""

    def __init__(self, observability: Observability, stream: TextIO) -> None:
        """Write to `stream`, count in the metrics of `observability`."""
        super().__init__(stream)
        self._metrics = observability.metrics
        self.setFormatter(JsonFormatter(observability.service, observability.instance))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            self.stream.write(self.format(record) + self.terminator)
            self.flush()
        except Exception:  # noqa: BLE001 - logging's own way out prints a traceback, which is no JSON
            self._metrics.log_failures.inc()
        else:
            self._metrics.log_records.labels(level_of(record)).inc()


def configure_logging(observability: Observability, stream: TextIO = sys.stdout, level: str = "INFO") -> None:
    """Make every line of this process one JSON object on `stream`: logging, uvicorn, warnings, uncaught exceptions.

    To be called before anything logs, and again when the service knows its name better; the last call counts. Start
    uvicorn with `log_config=None, access_log=False`, or it takes its lines back.
    """
    if reconfigure := getattr(stream, "reconfigure", None):
        reconfigure(encoding="utf-8", errors="backslashreplace")
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(observability, stream)]
    root.setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(_not_told_yet)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _not_told_yet(record: logging.LogRecord) -> bool:
    return not (record.exc_info and record.exc_info[1] and was_told(record.exc_info[1]))


def _uncaught(kind: type[BaseException], exc: BaseException | None, trace: TracebackType | None) -> None:
    if isinstance(exc, KeyboardInterrupt):
        return
    logger.critical("Uncaught exception", exc_info=(kind, exc or kind(), trace))
