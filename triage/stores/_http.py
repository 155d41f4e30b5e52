"""Servers are asked over HTTP; what goes wrong is a sentence with the server's name and address."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx2

from triage.stores import StoreError

PATIENCE = 3.0  # seconds for an answer
_LONGEST = 200  # characters of a server's own words


class NoAnswerError(StoreError):
    """Nobody answers at the address."""


class RefusedError(StoreError):
    """The server answers, and does not do what it was asked."""


class Server:
    """One server, as a store asks it."""

    def __init__(self, name: str, url: str, patience: float = PATIENCE) -> None:
        """Know its `name` in sentences, and where it is."""
        self.name, self.url = name, url.rstrip("/")
        # No proxy of the environment: the servers are here. Certificates are read only where they are needed.
        self._client = httpx2.Client(timeout=patience, trust_env=False, verify=url.startswith("https:"))

    def __enter__(self) -> Self:
        """Begin without a connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open."""
        self._client.close()

    def text(self, path: str, accept: str = "*/*", **query: str | float) -> str:
        """Return the body that is at `path`."""
        return self._asked("GET", path, params=query, headers={"Accept": accept})

    def post(self, path: str, body: object) -> None:
        """Send JSON to `path`."""
        self._asked("POST", path, json=body)

    def _asked(self, method: str, path: str, **what: Any) -> str:  # noqa: ANN401 - options of the client
        try:
            answer = self._client.request(method, self.url + path, **what)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as exc:
            msg = f"{self.name} at {self.url} does not answer: {_reason(exc)}"
            raise NoAnswerError(msg) from None
        if not answer.is_success:
            msg = f"{self.name} at {self.url} refuses with {answer.status_code}: {_words(answer.text)}"
            raise RefusedError(msg)
        return answer.text

    def json(self, path: str, **query: str | float) -> Any:  # noqa: ANN401 - whatever JSON is
        """Return what the JSON at `path` says."""
        body = self.text(path, "application/json", **query)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            msg = f"{self.name} at {self.url} answers no JSON: {_words(body)}"
            raise RefusedError(msg) from None

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Whoever does not find in an answer what belongs there has asked somebody else."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError):
            msg = f"What answers at {self.url} is not {self.name}: name the right address"
            raise RefusedError(msg) from None


def _reason(exc: Exception) -> str:
    if isinstance(exc, httpx2.TimeoutException):
        return "it takes too long"
    said = str(exc)
    return said.partition("] ")[2] or said or type(exc).__name__  # without "[Errno 111] "


def _words(body: str) -> str:
    """Return what a server says of a mistake: its JSON's sentence, or the text's beginning."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        body = next((str(told[key]) for key in ("message", "error", "detail", "title") if told.get(key)), body)
    short = " ".join(body.split())
    return short[:_LONGEST] or "it does not say why"
