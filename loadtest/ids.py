"""What every request of a run is called: the trace id carries the time, the request id the run."""

import itertools
import secrets
from datetime import UTC, datetime

from app.observability import new_span_id, new_trace_id


def new_run() -> str:
    """Return a name for a run that says when it began, such as `20261123T031400a7`; it has no dash."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}{secrets.token_hex(1)}"


class RequestIds:
    """The ids of one run at one worker."""

    def __init__(self, run: str, worker: int = 0) -> None:
        """Count the requests of `run` from 1."""
        self.run = run
        self._worker = worker
        self._sequence = itertools.count(1)

    def headers(self) -> dict[str, str]:
        """Return the headers of the next request."""
        return {
            "traceparent": f"00-{new_trace_id()}-{new_span_id()}-01",
            "X-Request-ID": f"{self.run}-{self._worker}-{next(self._sequence)}",
        }
