"""The one ContextVar: which request the running code works for."""

from contextvars import ContextVar, Token
from time import perf_counter
from typing import Self

from ._identity import Identity


class RequestContext:
    """One request's identity, and what the code below noted about it: fields, timings and failures."""

    __slots__ = ("annotations", "failures", "identity", "timings")

    def __init__(self, identity: Identity) -> None:
        """Begin with an identity and nothing noted."""
        self.identity = identity
        self.annotations: dict[str, object] = {}
        # Appended to, never added up in place: threads of one request may append at the same time.
        self.timings: list[tuple[str, float]] = []
        self.failures: list[BaseException] = []

    def fail(self, exc: BaseException) -> None:
        """Note a failure; the same exception again, further out, is not another one."""
        if not any(exc is known for known in self.failures):
            self.failures.append(exc)

    def noted(self) -> dict[str, object]:
        """Return the annotations, and the timings added up: `<name>_ms` in milliseconds, and `<name>_calls`."""
        spent: dict[str, list[float]] = {}
        for name, seconds in self.timings:
            spent.setdefault(name, []).append(seconds)
        fields = {**self.annotations}
        for name, times in spent.items():
            fields[f"{name}_ms"] = round(sum(times) * 1000, 3)
            fields[f"{name}_calls"] = len(times)
        return fields


#: What code sees that runs outside every request: a trace id that no client can send.
NO_REQUEST = RequestContext(Identity("-", "-"))

_current: ContextVar[RequestContext] = ContextVar("request_context", default=NO_REQUEST)


def current_request() -> RequestContext:
    """Return the request that the running code works for, or `NO_REQUEST`."""
    return _current.get()


def enter_request(context: RequestContext) -> Token[RequestContext]:
    """Make `context` the current one; give the token to `leave_request`."""
    return _current.set(context)


def leave_request(token: Token[RequestContext]) -> None:
    """Put back what was current before."""
    _current.reset(token)


def annotate(**fields: object) -> None:
    """Add fields to the lines that end the current request; outside a request, do nothing.

    A field that a line has already (`status`, `duration_ms`, ...) is not replaced.
    """
    if (context := _current.get()) is not NO_REQUEST:
        context.annotations.update(fields)


def record_time(name: str, seconds: float) -> None:
    """Add to the time that the current request spent on `name`: its line gets `<name>_ms` and `<name>_calls`."""
    if (context := _current.get()) is not NO_REQUEST:
        context.timings.append((name, seconds))


def record_failure(exc: BaseException) -> None:
    """Say that the current request failed, where a handler answers 5xx itself: its `request.failed` line is written.

    An exception that leaves the application need not be recorded; doing both still writes one line.
    """
    if (context := _current.get()) is not NO_REQUEST:
        context.fail(exc)


class timed:  # noqa: N801 - used like a function: `with timed("db"):`
    """Time a block and `record_time` it, also when it raises."""

    __slots__ = ("_name", "_started")

    def __init__(self, name: str) -> None:
        """Time the block as `name`."""
        self._name = name

    def __enter__(self) -> Self:
        """Start the clock."""
        self._started = perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and record."""
        record_time(self._name, perf_counter() - self._started)
