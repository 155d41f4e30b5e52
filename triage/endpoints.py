"""The addresses of the stack's servers, from environment variables."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import Field, HttpUrl, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from triage.errors import TriageError
from triage.models import Window
from triage.stores.client import TIMEOUT, HttpClient
from triage.stores.loki import LokiStore
from triage.stores.prometheus import PrometheusStore
from triage.urls import hide_credentials

#: Seconds; Loki itself gives up on a query after 30.
QUERY_TIMEOUT = 60.0

#: The servers, with their names in error messages.
SERVERS = {"api": "The service", "prometheus": "Prometheus", "loki": "Loki", "alloy": "Alloy", "grafana": "Grafana"}

Port = Annotated[int, Field(gt=0, lt=1 << 16)]


class EndpointSettings(BaseSettings):
    """The environment variables; a URL that is not set is the port that docker-compose.yml publishes."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    api_port: Port = 8000
    prometheus_port: Port = 9090
    loki_port: Port = 3100
    alloy_port: Port = 12345
    grafana_port: Port = 3000
    locust_port: Port = 8089
    api_url: HttpUrl | None = None
    prometheus_url: HttpUrl | None = None
    loki_url: HttpUrl | None = None
    alloy_url: HttpUrl | None = None
    grafana_url: HttpUrl | None = None
    load: str = "on"
    load_incidents: str = "on"


class Stores(NamedTuple):
    """The logs and metrics of a window in the stack."""

    logs: LokiStore
    metrics: PrometheusStore


class Endpoints(NamedTuple):
    """Clients of the servers, addresses to open in a browser, and whether the stack makes load and incidents."""

    api: HttpClient
    prometheus: HttpClient
    loki: HttpClient
    alloy: HttpClient
    grafana: HttpClient
    public_api: str
    public_grafana: str
    public_locust: str
    load: bool
    incidents: bool

    def stores(self, window: Window) -> Stores:
        """Return the stores of a window."""
        return Stores(LokiStore(self.loki, window), PrometheusStore(self.prometheus, window))


def read_endpoints(timeout: float = TIMEOUT, overrides: Mapping[str, str] | None = None) -> Endpoints:
    """Read the environment variables, of which some may be overridden; `timeout` of requests is in seconds.

    Raise `TriageError` if a variable is invalid.
    """
    lowered = {name.lower(): value for name, value in (overrides or {}).items()}
    try:
        settings = EndpointSettings.model_validate(lowered)
    except ValidationError as exc:
        error = exc.errors()[0]
        msg = (
            f"{str(error['loc'][0]).upper()} is invalid: {error['msg']}, got {hide_credentials(str(error['input']))!r}"
        )
        raise TriageError(msg) from None
    clients = {}
    for name, title in SERVERS.items():
        url = getattr(settings, f"{name}_url") or f"http://127.0.0.1:{getattr(settings, f'{name}_port')}"
        clients[name] = HttpClient(title, str(url), timeout)
    load = settings.load != "off"
    return Endpoints(
        **clients,
        public_api=f"localhost:{settings.api_port}",
        public_grafana=f"http://localhost:{settings.grafana_port}",
        public_locust=f"http://localhost:{settings.locust_port}",
        load=load,
        incidents=load and settings.load_incidents != "off",
    )
