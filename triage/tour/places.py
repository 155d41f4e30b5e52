"""Where the parts answer, and what a person opens: from the environment."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from triage.errors import CannotTellError
from triage.stores._http import PATIENCE, Server

_PORTS = {"api": 8000, "prometheus": 9090, "loki": 3100, "alloy": 12345, "grafana": 3000, "locust": 8089}
_ON, _OFF = "on", "off"

#: Whom the tour asks, with their names in sentences.
ASKED = {"api": "The service", "prometheus": "Prometheus", "loki": "Loki", "alloy": "Alloy", "grafana": "Grafana"}


class Places(NamedTuple):
    """The servers, the addresses that a person opens, and whether load and incidents come by themselves."""

    api: Server
    prometheus: Server
    loki: Server
    alloy: Server
    grafana: Server
    open_api: str
    open_grafana: str
    open_locust: str
    load: bool
    incidents: bool


def places(environment: Mapping[str, str], patience: float = PATIENCE) -> Places:
    """Read them; what is not said is where docker-compose.yml publishes it. `patience` is in seconds, for an answer."""
    published = {name: f"localhost:{_port(environment, name, port)}" for name, port in _PORTS.items()}

    asked = {part: Server(name, _url(environment, part, published[part]), patience) for part, name in ASKED.items()}
    load = _switch(environment, "LOAD")
    return Places(
        api=asked["api"],
        prometheus=asked["prometheus"],
        loki=asked["loki"],
        alloy=asked["alloy"],
        grafana=asked["grafana"],
        open_api=published["api"],
        open_grafana=f"http://{published['grafana']}",
        open_locust=f"http://{published['locust']}",
        load=load,
        incidents=load and _switch(environment, "LOAD_INCIDENTS"),
    )


def _url(environment: Mapping[str, str], part: str, published: str) -> str:
    variable = f"{part.upper()}_URL"
    url = environment.get(variable) or f"http://{published.replace('localhost', '127.0.0.1')}"
    try:
        split = urlsplit(url)
        right = split.scheme in {"http", "https"} and bool(split.hostname) and split.port != 0
    except ValueError:
        right = False
    if not right:
        msg = f"{variable} is such as http://127.0.0.1:{_PORTS[part]}, and not {url!r}"
        raise CannotTellError(msg)
    return url


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(f"{name.upper()}_PORT") or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
        msg = f"{name.upper()}_PORT is a number such as {default}, and not {text!r}"
        raise CannotTellError(msg)
    return int(text)


def _switch(environment: Mapping[str, str], name: str) -> bool:
    return (environment.get(name) or _ON) != _OFF
