"""HTTP without the proxies of the environment, which Locust's own client does not use either."""

import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import cast

from triage.urls import split_credentials

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def open_url(
    url: str, data: bytes | None = None, *, timeout: float, headers: Mapping[str, str] | None = None
) -> HTTPResponse:
    """Send a request, a POST if there is `data`; a user name and password in the URL are sent as a header.

    Raise `OSError` or `HTTPException` if there is no response, or if its status is an error.
    """
    url, credentials = split_credentials(url)
    request = urllib.request.Request(url, data, dict(headers or {}))  # noqa: S310 - the user chooses the server
    if credentials:
        token = b64encode(":".join(credentials).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return cast("HTTPResponse", _OPENER.open(request, timeout=timeout))
