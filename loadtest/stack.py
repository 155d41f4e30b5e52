"""The load that a stack makes by itself: it rests while a measured run loads the same service."""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_SOON = 3  # seconds
_BEGUN = 1  # second, after which the first users are there
_DONE = 40  # seconds: Locust waits for requests that are on their way


@contextmanager
def resting(host: str) -> Iterator[bool]:
    """Stop the stack's Locust if it loads `host`, and start it again afterwards with the users it had."""
    locust = os.environ.get("LOCUST_URL", "http://127.0.0.1:8089").rstrip("/")
    had = _load(locust, host)
    if had is None:
        yield False
        return
    _ask(f"{locust}/stop", {}, _DONE)
    try:
        yield True
    finally:
        try:
            _start_again(locust, had)
        except (OSError, ValueError):
            sys.stderr.write(f"The load of the stack did not start again; its page is {locust}.\n")


def _start_again(locust: str, had: Mapping[str, str]) -> None:
    """Ask until it runs: its workers, if it has some, take a while to be ready again, and it says yes meanwhile."""
    deadline = time.monotonic() + _DONE
    while time.monotonic() < deadline:
        _ask(f"{locust}/swarm", had)
        time.sleep(_BEGUN)
        if _runs(json.loads(_ask(f"{locust}/stats/requests"))):
            return
        time.sleep(_SOON)
    raise TimeoutError


def _runs(now: object) -> bool:
    return isinstance(now, dict) and now.get("state") in {"running", "spawning"} and bool(now.get("user_count"))


def _load(locust: str, host: str) -> dict[str, str] | None:
    """Return what a run at `locust` would have to be told to be as it is now, if it loads `host`."""
    try:
        now = json.loads(_ask(f"{locust}/stats/requests"))
        page = _ask(locust)
    except (OSError, ValueError):
        return None
    if not _runs(now):
        return None
    told = {name: found[1] for name in ("host", "run_time") if (found := re.search(rf'"{name}": "?([^",}}]+)', page))}
    if not _same(host, told.get("host", "")):
        return None
    length = {"run_time": told["run_time"]} if told.get("run_time", "null") != "null" else {}
    return {"user_count": str(now["user_count"]), "spawn_rate": "10", "host": told["host"], **length}


def _same(host: str, other: str) -> bool:
    """Whether both are one service: the stack's own is `api` inside, and a published port outside."""
    api = os.environ.get("API_URL", f"http://127.0.0.1:{os.environ.get('API_PORT', '8000')}")
    published = {_plain(api), _plain("http://api:8000")}
    return _plain(host) == _plain(other) or {_plain(host), _plain(other)} <= published


def _plain(url: str) -> str:
    return url.rstrip("/").replace("//localhost:", "//127.0.0.1:")


def _ask(url: str, form: Mapping[str, Any] | None = None, seconds: float = _SOON) -> str:
    data = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(url, data, seconds) as answer:  # noqa: S310 - where the environment says Locust is
        text: str = answer.read().decode(errors="replace")
        return text
