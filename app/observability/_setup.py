"""The process's one way out for lines: the handler that writes them, and everything that would write elsewhere."""

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from ._failure import was_told
from ._line import JsonFormatter, level_of
from ._observability import Observability

logger = logging.getLogger("observability")


class LineHandler(logging.Handler):
    """Write lines and count them; a line that cannot be written is counted, and the request goes on."""

    def __init__(self, observability: Observability, stream: TextIO) -> None:
        """Write to `stream`, count in the metrics of `observability`."""
        super().__init__()
        self._metrics = observability.metrics
        self._write = _past_buffers(stream)
        self._mend = b""  # what ends the line of which only a part could be written
        formatter = JsonFormatter(observability.service, observability.instance)
        self._line = formatter.line
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            rest = self._mend + self._line(record) + b"\n"
            while rest:
                rest = rest[self._write(rest) :]
                self._mend = b"\n" if rest else b""
        except Exception:  # noqa: BLE001 - logging's own way out prints a traceback, which is no JSON
            self._metrics.log_failures.inc()
        else:
            self._metrics.wrote(level_of(record))


def _past_buffers(stream: TextIO) -> Callable[[bytes], int]:
    """Return what writes to `stream` and says how much of it was written.

    What a full disk or a closed pipe refuses is to be refused now, and not kept, and told of, until the exit.
    """
    raw = getattr(getattr(stream, "buffer", None), "raw", None)

    def write(line: bytes) -> int:
        if raw is None:
            stream.write(line.decode())
            return len(line)
        written: int | None = raw.write(line)
        if written is None:  # a stream that does not block, and is full
            raise BlockingIOError
        return written

    return write


def configure_logging(observability: Observability, stream: TextIO = sys.stdout, level: str = "INFO") -> None:
    """Make every line of this process one JSON object on `stream`: logging, uvicorn, warnings, uncaught exceptions.

    To be called before anything logs, and again when the service knows its name better; the last call counts. Start
    uvicorn with `log_config=None, access_log=False`, or it takes its lines back. A reader of `stream` who does not
    read stops the service, and loses nothing.
    """
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(observability, stream)]
    root.setLevel(level)
    logging.Logger.makeRecord = _make_record_anyway  # type: ignore[method-assign]
    logging.getLogger("uvicorn.error").addFilter(_not_told_yet)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


_make_record: Callable[..., logging.LogRecord] = logging.Logger.makeRecord


def _make_record_anyway(self: logging.Logger, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 - as given
    """Make a record also where `extra` has a name that records use themselves, such as `name`: it gets a `_`."""
    try:
        return _make_record(self, *args, **kwargs)
    except KeyError:
        *before, extra, stack_info = args
        record = _make_record(self, *before, None, stack_info)
        for key, value in extra.items():
            record.__dict__[f"{key}_" if key in {*record.__dict__, "message", "asctime"} else key] = value
        return record


def _not_told_yet(record: logging.LogRecord) -> bool:
    return not (record.exc_info and record.exc_info[1] and was_told(record.exc_info[1]))


def _uncaught(kind: type[BaseException], exc: BaseException | None, trace: TracebackType | None) -> None:
    if isinstance(exc, KeyboardInterrupt):
        return
    logger.critical("Uncaught exception", exc_info=(kind, exc or kind(), trace))
