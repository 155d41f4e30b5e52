"""JSON lines about a run's requests, as the client saw them."""

import errno
import io
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent

logger = logging.getLogger(__name__)

#: The `error` of a request for which this process had no file descriptor left.
TOO_MANY_OPEN_FILES = "TooManyOpenFiles"

_PERIOD = 1  # seconds
_APP_DURATION = re.compile(r"(?:^|,)\s*app\s*;\s*dur=(\d+(?:\.\d+)?)")


def line(event: str, run: str, when: float | None = None, **fields: object) -> dict[str, object]:
    """Return the fields of a line; `when` is in seconds since 1970, by default now."""
    moment = datetime.fromtimestamp(time.time() if when is None else when, UTC)
    return {"timestamp": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}", "event": event, "service": "loadtest", "run": run, **fields}


def encode(fields: Mapping[str, object]) -> bytes:
    """Return the fields as a line of JSON."""
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def route_of(name: str) -> str:
    """Return the route of a request from its name in Locust's statistics."""
    return name.partition("?")[0]


def server_ms(response: Any) -> float | None:  # noqa: ANN401 - depends on the user's client
    """Return the duration in the response's `Server-Timing` header, in milliseconds."""
    headers = getattr(response, "headers", None) or {}
    found = _APP_DURATION.search(headers.get("server-timing") or "")
    return float(found[1]) if found else None


def _error(exception: BaseException | None) -> str | None:
    if isinstance(exception, OSError) and exception.errno in {errno.EMFILE, errno.ENFILE}:
        return TOO_MANY_OPEN_FILES
    return type(exception).__name__ if exception else None


class Record:
    """A file with one line per request. The first failed write is logged; the load goes on."""

    def __init__(self, path: Path, run: str) -> None:
        """Append the requests of `run` to `path`."""
        self._path = path
        self._run = run
        self._file: io.FileIO | None = None
        self._lines: list[bytes] = []
        self._line_end = b""  # ends a line that was only written in part
        self._warned = False
        self.requests = 0
        self._writer = gevent.spawn(self._write_periodically)

    def on_request(  # noqa: PLR0913 - the arguments of Locust's request event
        self,
        *,
        request_type: str,
        name: str,
        context: Mapping[str, Any],
        start_time: float,
        response_time: float,
        response: Any,  # noqa: ANN401 - depends on the user's client
        exception: BaseException | None,
        **_: object,
    ) -> None:
        """Add a line for a finished request of an `ApiUser`. Time counts from when the request was due."""
        if "request_id" not in context:
            return
        self.requests += 1
        late_ms = context["late_ms"]
        fields = {
            "request_id": context["request_id"],
            "trace_id": context["trace_id"],
            "route": route_of(name),
            "method": request_type,
            "status": getattr(response, "status_code", None) or None,  # the client sets 0 without a response
            "client_ms": round(response_time + late_ms, 3),
            "server_ms": server_ms(response),
            "late_ms": round(late_ms, 3),
            "error": _error(exception),
        }
        self.add(line("request.sent", self._run, start_time - late_ms / 1000, **fields))

    def add(self, fields: Mapping[str, object]) -> None:
        """Add another line."""
        self._lines.append(encode(fields))

    def close(self) -> None:
        """Write the remaining lines."""
        self._writer.kill()
        self._write()
        if self._file is not None:
            self._file.close()

    def _write_periodically(self) -> None:
        while True:
            self._write()
            gevent.sleep(_PERIOD)

    def _write(self) -> None:
        rest = self._line_end + b"".join(self._lines)
        self._lines.clear()
        try:
            file = self._open()
            while rest:
                rest = rest[file.write(rest) :]
                self._line_end = b"\n" if rest else b""
        except OSError as exc:
            if not self._warned:
                logger.warning("Cannot record requests in %s: %s", self._path, exc.strerror, extra={"run": self._run})
            self._warned = True

    def _open(self) -> io.FileIO:
        """Return the file, which stays open: there may be no file descriptor left for it when it is needed."""
        if self._file is not None and os.fstat(self._file.fileno()).st_nlink == 0:  # it was deleted
            self._file.close()
            self._file = None
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
        return self._file


class GeneratorRecord(Record):
    """The file of one generator, with a sample of its CPU usage each second and a last line."""

    def __init__(self, path: Path, run: str, worker: int, in_flight: Callable[[], int]) -> None:
        """Append the requests and samples of generator `worker` to `path`."""
        super().__init__(path, run)
        self._worker = worker
        self._in_flight = in_flight
        self._sampler = gevent.spawn(self._sample)

    def close(self) -> None:
        """Add the last line, and write the remaining ones."""
        self._sampler.kill()
        self.add(line("generator.stopped", self._run, worker=self._worker, requests=self.requests))
        super().close()

    def _sample(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        while True:
            gevent.sleep(_PERIOD)
            wall_now, cpu_now = time.perf_counter(), time.process_time()
            share = round((cpu_now - cpu) / (wall_now - wall), 3)
            wall, cpu = wall_now, cpu_now
            fields = {"worker": self._worker, "cpu": share, "in_flight": self._in_flight()}
            self.add(line("generator.sampled", self._run, **fields))
