"""What a run sent and saw, a line for each request: the client's side, to compare the services' lines with."""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent

logger = logging.getLogger(__name__)

_PERIOD = 1  # seconds from one write to the next
_OURS = re.compile(r"(?:^|,)\s*app\s*;\s*dur=(\d+(?:\.\d+)?)")


def line(event: str, run: str, when: float | None = None, **fields: object) -> dict[str, object]:
    """Return what a line says; `when` is in seconds since 1970, or now."""
    moment = datetime.fromtimestamp(time.time() if when is None else when, UTC)
    return {"timestamp": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}", "event": event, "service": "loadtest", "run": run, **fields}


def encode(fields: Mapping[str, object]) -> bytes:
    """Return a line as it is written."""
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def server_ms(response: Any) -> float | None:  # noqa: ANN401 - of whatever client the user has
    """Return what the service says of its own time, if it does."""
    headers = getattr(response, "headers", None) or {}
    found = _OURS.search(headers.get("server-timing") or "")
    return float(found[1]) if found else None


class Record:
    """A file with a line for each request. What cannot be written is told of once, and the load goes on."""

    def __init__(self, path: Path, run: str) -> None:
        """Append the requests of `run` to `path`."""
        self._path = path
        self._run = run
        self._lines: list[bytes] = []
        self._mend = b""  # what ends the line of which only a part could be written
        self._told = False
        self.requests = 0
        self._writer = gevent.spawn(self._write_now_and_then)

    def request(  # noqa: PLR0913 - these are what Locust's event tells
        self,
        *,
        request_type: str,
        context: Mapping[str, Any],
        start_time: float,
        response_time: float,
        response: Any,  # noqa: ANN401 - of whatever client the user has
        exception: BaseException | None,
        **_: object,
    ) -> None:
        """Take what Locust tells of a request that is over; one without ids is not of the users here."""
        if "request_id" not in context:
            return
        self.requests += 1
        told = {
            **context,
            "method": request_type,
            # The client says 0 where no response came.
            "status": getattr(response, "status_code", None) or None,
            "client_ms": round(response_time, 3),
            "server_ms": server_ms(response),
            "late_ms": round(context["late_ms"], 3),
            "error": type(exception).__name__ if exception else None,
        }
        self.add(line("request.sent", self._run, start_time, **told))

    def add(self, fields: Mapping[str, object]) -> None:
        """Take another line."""
        self._lines.append(encode(fields))

    def close(self) -> None:
        """Write the rest."""
        self._writer.kill()
        self._write()

    def _write_now_and_then(self) -> None:
        while True:
            self._write()
            gevent.sleep(_PERIOD)

    def _write(self) -> None:
        rest = self._mend + b"".join(self._lines)
        self._lines.clear()
        try:
            # Opened each time: a folder that is gone would otherwise take lines for ever, and nobody would know.
            with self._path.open("ab", buffering=0) as file:
                while rest:
                    rest = rest[file.write(rest) :]
                    self._mend = b"\n" if rest else b""
        except OSError as exc:
            if not self._told:
                logger.warning("What is sent cannot be recorded: %s", exc.strerror, extra={"run": self._run})
            self._told = True


class GeneratorRecord(Record):
    """The file of one generator, which also says how busy it was, and at last that it ended in good order."""

    def __init__(self, path: Path, run: str, worker: int, in_flight: Callable[[], int]) -> None:
        """Append what the generator with the number `worker` does to `path`."""
        super().__init__(path, run)
        self._worker = worker
        self._in_flight = in_flight
        self._sampler = gevent.spawn(self._sample)

    def close(self) -> None:
        """Say that this is the end, and write the rest."""
        self._sampler.kill()
        self.add(line("generator.stopped", self._run, worker=self._worker, requests=self.requests))
        super().close()

    def _sample(self) -> None:
        wall, used = time.perf_counter(), time.process_time()
        while True:
            gevent.sleep(_PERIOD)
            now, busy = time.perf_counter(), time.process_time()
            share = round((busy - used) / (now - wall), 3)
            wall, used = now, busy
            sampled = {"worker": self._worker, "cpu": share, "in_flight": self._in_flight()}
            self.add(line("generator.sampled", self._run, **sampled))
