"""HTTP requests to the servers of the stack; every failure is one sentence with the server's name and address."""

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx2

from triage.errors import StoreError
from triage.urls import split_credentials

TIMEOUT = 3.0  # seconds
_MAX_MESSAGE = 200  # characters of a server's error message
_MAX_BODY = 32 * 1024 * 1024  # bytes; 5,000 of our longest lines are larger, usual ones are 2 MB


class NoResponseError(StoreError):
    """The server does not respond."""


class ResponseError(StoreError):
    """The server responds with an error or with something unexpected."""


class HttpClient:
    """A client of one server."""

    def __init__(self, name: str, url: str, timeout: float = TIMEOUT) -> None:
        """Use `name` in error messages; `timeout` is in seconds."""
        #: Without a user name and password, which must not be printed.
        self.url, credentials = split_credentials(url.rstrip("/"))
        self.name = name
        self._timeout = timeout
        auth = httpx2.BasicAuth(*credentials) if credentials else None
        # Proxies of the environment are ignored: the servers are local. Loading certificates is slow, so only for TLS.
        verify = ssl.create_default_context() if self.url.startswith("https:") else False
        self._client = httpx2.Client(auth=auth, timeout=timeout, trust_env=False, verify=verify)

    def __enter__(self) -> Self:
        """Connect when the first request is made."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self._client.close()

    def text(self, path: str, accept: str = "*/*", **query: str | float) -> str:
        """Return the body of a GET request."""
        return self._request("GET", path, params=query, headers={"Accept": accept})

    def json(self, path: str, **query: str | float) -> Any:  # noqa: ANN401 - any JSON
        """Return the decoded body of a GET request."""
        body = self.text(path, "application/json", **query)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            msg = f"{self.name} at {self.url} did not respond with JSON: {_message(body)}"
            raise ResponseError(msg) from None

    def post(self, path: str, body: object) -> None:
        """Send JSON."""
        self._request("POST", path, json=body)

    def _request(self, method: str, path: str, **options: Any) -> str:  # noqa: ANN401 - options of the client
        deadline = time.monotonic() + self._timeout
        body = bytearray()
        try:
            with self._client.stream(method, self.url + path, **options) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _MAX_BODY:
                        msg = f"{self.name} at {self.url} responded with more than {_MAX_BODY >> 20} MiB: "
                        msg += "choose a shorter window"
                        raise ResponseError(msg)
                    if time.monotonic() > deadline:  # the client's own timeout is for each read
                        msg = f"{self.name} at {self.url} does not respond: its response is not complete "
                        msg += f"after {self._timeout:g} s"
                        raise NoResponseError(msg)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as exc:
            if reason := certificate_error(exc):
                msg = f"{self.name} at {self.url} has a certificate that is not valid here: {reason}"
            else:
                msg = f"{self.name} at {self.url} does not respond: {_reason(exc)}"
            raise NoResponseError(msg) from None
        text = body.decode(response.encoding or "utf-8", errors="replace")
        if not response.is_success:
            msg = f"{self.name} at {self.url} responded with {response.status_code}: {_message(text)}"
            raise ResponseError(msg)
        return text

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """Report a response without the expected content, probably of another server, as an error."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError):
            msg = f"The server at {self.url} is not {self.name}: correct the address"
            raise ResponseError(msg) from None


def certificate_error(exc: BaseException | None) -> str | None:
    """Return what is wrong with a server's certificate and what to do, if that is why a request failed."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return f"{exc.verify_message}; set SSL_CERT_FILE to a file with the certificate of its issuer"
        exc = exc.__cause__ or exc.__context__
    return None


def _reason(exc: Exception) -> str:
    if isinstance(exc, httpx2.TimeoutException):
        return "timed out"
    text = str(exc)
    return text.partition("] ")[2] or text or type(exc).__name__  # without "[Errno 111] "


def _message(body: str) -> str:
    """Return the error message of a response: from its JSON, or the beginning of its text."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        decoded = None
    if isinstance(decoded, dict):
        keys = ("message", "error", "detail", "title")
        body = next((str(decoded[key]) for key in keys if decoded.get(key)), body)
    return " ".join(body.split())[:_MAX_MESSAGE] or "no message"
