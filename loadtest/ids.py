"""The ids of requests: the trace id carries the time, the request id the run."""

import itertools
import secrets
from datetime import UTC, datetime

from app.observability import new_span_id, new_trace_id


def new_run() -> str:
    """Return a name for a run that starts now, such as `20261123T031400a7`, without a dash."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}{secrets.token_hex(1)}"


class RequestIds:
    """The ids of the requests that one worker makes in one run."""

    def __init__(self, run: str, worker: int = 0) -> None:
        """Start with request 1 of `run`."""
        self._prefix = f"{run}-{worker}"
        self._sequence = itertools.count(1)

    def headers(self) -> dict[str, str]:
        """Return the headers of the next request."""
        return {
            "traceparent": f"00-{new_trace_id()}-{new_span_id()}-01",
            "X-Request-ID": f"{self._prefix}-{next(self._sequence)}",
        }
