"""What a run sent and saw, a line for each request: the client's side, to compare the services' lines with."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent

logger = logging.getLogger(__name__)

_PERIOD = 1  # seconds from one write to the next


class Record:
    """A file with a line for each request. What cannot be written is told of once, and the load goes on."""

    def __init__(self, path: Path, run: str) -> None:
        """Append the requests of `run` to `path`."""
        self._path = path
        self._run = run
        self._lines: list[bytes] = []
        self._mend = b""  # what ends the line of which only a part could be written
        self._told = False
        self._writer = gevent.spawn(self._write_now_and_then)

    def request(  # noqa: PLR0913 - these are what Locust's event tells
        self,
        *,
        request_type: str,
        context: Mapping[str, str],
        start_time: float,
        response_time: float,
        response: Any,  # noqa: ANN401 - of whatever client the user has
        exception: BaseException | None,
        **_: object,
    ) -> None:
        """Take what Locust tells of a request that is over; one without ids is not of the users here."""
        if "request_id" not in context:
            return
        line = {
            "timestamp": f"{datetime.fromtimestamp(start_time, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "event": "request.sent",
            "service": "loadtest",
            "run": self._run,
            **context,
            "method": request_type,
            # The client says 0 where no response came.
            "status": getattr(response, "status_code", None) or None,
            "client_ms": round(response_time, 3),
            "error": type(exception).__name__ if exception else None,
        }
        self._lines.append(json.dumps(line, separators=(",", ":")).encode() + b"\n")

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
