"""The hops of the walk, in order, and what a person does where one is broken."""

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


def _mend(service: str, *more: str) -> tuple[str, ...]:
    return (f"docker compose logs --tail 20 {service}", f"docker compose up --detach {service}", *more)


#: What a person does, in lines: commands, and what they cannot mend.
MENDS = {
    Hop.SERVICE: _mend("api", "A wrong setting is one line in its logs."),
    Hop.STDOUT: (
        "docker compose logs --tail 20 api",
        "If that is empty, the engine's log driver is not json-file, which docker-compose.yml asks for.",
        "If it is not, its lines are older, or the service's stdout leads elsewhere.",
    ),
    Hop.PROXY: _mend(
        "docker-socket-proxy", "With a rootless engine: DOCKER_SOCK=$XDG_RUNTIME_DIR/docker.sock docker compose up"
    ),
    Hop.ALLOY: _mend("alloy"),
    Hop.LOKI: _mend("loki"),
    Hop.SCRAPE: _mend("prometheus", "Who is scraped is said in prometheus/scrape/."),
    Hop.EXEMPLARS: ("Start Prometheus with --enable-feature=exemplar-storage, as docker-compose.yml does.",),
    Hop.SOURCE: _mend("grafana", "Its data sources are said in grafana/provisioning/datasources/."),
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
