"""Pausing the load that a stack makes by itself during a measured run of the same service."""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from loadtest.http_client import open_url
from triage.urls import hide_credentials, split_credentials

_TIMEOUT = 3  # seconds
_FIRST_USERS = 1  # second, after which the first users run
_STOP_TIMEOUT = 40  # seconds: Locust waits for requests in flight


@contextmanager
def pause_stack_load(host: str) -> Iterator[bool]:
    """Stop the stack's Locust if it loads `host`; start it again afterwards, with as many users as before."""
    locust = os.environ.get("LOCUST_URL", "http://127.0.0.1:8089").rstrip("/")
    settings = _settings(locust, host)
    if settings is None:
        yield False
        return
    _fetch(f"{locust}/stop", {}, _STOP_TIMEOUT)
    try:
        yield True
    finally:
        try:
            _start(locust, settings)
        except (OSError, ValueError):
            sys.stderr.write(f"The load of the stack did not start again. Start it at {hide_credentials(locust)}.\n")


def _start(locust: str, settings: Mapping[str, str]) -> None:
    """Start a run, and try again until it has users: Locust accepts a run even while its workers are not ready."""
    deadline = time.monotonic() + _STOP_TIMEOUT
    while time.monotonic() < deadline:
        _fetch(f"{locust}/swarm", settings)
        time.sleep(_FIRST_USERS)
        if _is_running(_fetch_json(f"{locust}/stats/requests")):
            return
        time.sleep(_TIMEOUT)
    raise TimeoutError


def _settings(locust: str, host: str) -> dict[str, str] | None:
    """Return the settings of the run at `locust`, if there is one and it loads `host`."""
    try:
        stats, run = _fetch_json(f"{locust}/stats/requests"), _fetch_json(f"{locust}/run")
    except (OSError, ValueError):
        return None
    if not _is_running(stats) or not _is_same(host, run.get("host") or ""):
        return None
    settings = {"user_count": str(stats["user_count"]), "spawn_rate": "10", "host": str(run["host"])}
    return settings | ({"run_time": str(run["run_time"])} if run.get("run_time") else {})


def _is_running(stats: Mapping[str, Any]) -> bool:
    return stats.get("state") in {"running", "spawning"} and bool(stats.get("user_count"))


def _is_same(host: str, other: str) -> bool:
    """Return whether both URLs are of one service: `api` in the stack's network is a published port outside."""
    api = os.environ.get("API_URL", f"http://127.0.0.1:{os.environ.get('API_PORT', '8000')}")
    published = {_normalize(api), _normalize("http://api:8000")}
    return _normalize(host) == _normalize(other) or {_normalize(host), _normalize(other)} <= published


def _normalize(url: str) -> str:
    return split_credentials(url)[0].rstrip("/").replace("//localhost:", "//127.0.0.1:")


def _fetch_json(url: str) -> dict[str, Any]:
    found = json.loads(_fetch(url))
    if not isinstance(found, dict):
        msg = f"{hide_credentials(url)} is not an object"
        raise ValueError(msg)  # noqa: TRY004 - like what is no JSON at all
    return found


def _fetch(url: str, form: Mapping[str, str] | None = None, timeout: float = _TIMEOUT) -> str:
    data = None if form is None else urllib.parse.urlencode(form).encode()
    with open_url(url, data, timeout=timeout) as response:
        text: str = response.read().decode(errors="replace")
        return text
