"""The hops of the walk, in order, and what a person does about each."""

from enum import StrEnum


class Hop(StrEnum):
    """Where the walk can break; the value is its name."""

    SERVICE = "service"
    STDOUT = "stdout"
    PROXY = "socket proxy"
    ALLOY = "Alloy"
    LOKI = "Loki"
    SCRAPE = "scrape"
    EXEMPLARS = "exemplar storage"
    SOURCE = "data source"


_LOGS = "`docker compose logs --tail 20"
_UP = "`docker compose up --detach"

MENDS = {
    Hop.SERVICE: f"See `docker compose ps --all`, and {_LOGS} api`: a wrong setting is one line there.",
    Hop.STDOUT: "If `docker compose logs api` is empty, the engine's log driver is not json-file, which "
    "docker-compose.yml asks for; else the service's stdout leads elsewhere.",
    Hop.PROXY: f"See {_LOGS} docker-socket-proxy`, and {_UP} docker-socket-proxy`; with a rootless engine, "
    "`DOCKER_SOCK=$XDG_RUNTIME_DIR/docker.sock docker compose up`.",
    Hop.ALLOY: f"See {_LOGS} alloy`, and {_UP} alloy`.",
    Hop.LOKI: f"See {_LOGS} loki alloy`, and {_UP} loki`.",
    Hop.SCRAPE: f"See {_LOGS} prometheus`, and {_UP} prometheus`; who is scraped is said in prometheus/scrape/.",
    Hop.EXEMPLARS: "Start Prometheus with --enable-feature=exemplar-storage, as docker-compose.yml does.",
    Hop.SOURCE: f"See {_LOGS} grafana`, and {_UP} grafana`; its data sources are said in grafana/provisioning/.",
}


class BrokenError(Exception):
    """The walk ends at this hop, and why."""

    def __init__(self, hop: Hop, why: str) -> None:
        """Say what is seen of it."""
        super().__init__(why)
        self.hop, self.why = hop, why


class WaitingError(Exception):
    """Nothing is known to be broken, and something has yet to happen."""


class RestingError(WaitingError):
    """Nobody makes requests, so there is nothing to walk along."""
