"""Settings of the services, from environment variables."""

import re
import socket
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

_ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


def _database_url(text: str) -> str:
    """Return a valid URL. The error message contains no part of it, because that may be part of a password."""
    try:
        create_async_engine(_async_url(text))  # checks all of it, and does not connect
    except (ArgumentError, ValueError, KeyError):
        msg = (
            "should look like postgresql://user:password@host/name, in which special characters of the password are "
            "percent-encoded, or like sqlite:///file.db"
        )
        raise ValueError(msg) from None
    return text


def _async_url(text: str) -> URL:
    url = make_url(text)
    return url.set(drivername=_ASYNC_DRIVERS[url.drivername])


def _host_names(text: str) -> str:
    # TrustedHostMiddleware would not start with other patterns.
    if not all(re.fullmatch(r"\*|(\*\.)?[\w.-]+|\[[0-9a-fA-F:.]+\]", name) for name in text.replace(",", " ").split()):
        msg = "should be names without ports, separated by commas, such as shop.example,*.internal"
        raise ValueError(msg)
    return text


def _single_worker(workers: int) -> int:
    if workers != 1:
        msg = (
            "should be 1: a scrape would read the metrics of one worker only; "
            "run more replicas instead, for example with docker compose up --scale api-replica=2"
        )
        raise ValueError(msg)
    return workers


class ServerSettings(BaseSettings):
    """The settings of every service."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    instance: str = ""
    server_timing: Literal["on", "off"] = "on"
    web_concurrency: Annotated[int, AfterValidator(_single_worker)] = 1
    allowed_hosts: Annotated[str, AfterValidator(_host_names)] = ""
    max_header_bytes: Annotated[int, Field(ge=1)] = 32_768
    max_body_bytes: Annotated[int, Field(ge=1)] = 65_536
    max_connections: Annotated[int, Field(ge=1)] = 400
    client_timeout: Annotated[float, Field(gt=0)] = 20.0

    @property
    def allowed_host_names(self) -> list[str]:
        """The names in `ALLOWED_HOSTS`."""
        return self.allowed_hosts.replace(",", " ").split()

    @property
    def own_instance(self) -> str:
        """`ip:port` of this process, the same as Prometheus's `instance`; `INSTANCE` overrides it."""
        all_addresses = self.host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        address = socket.gethostbyname(socket.gethostname()) if all_addresses else self.host
        return self.instance or f"{address}:{self.port}"


class PaymentsSettings(ServerSettings):
    """The settings of payments."""

    port: Annotated[int, Field(ge=1, le=65535)] = 8001


class Settings(ServerSettings):
    """The settings of the main service."""

    database_url: Annotated[str, AfterValidator(_database_url)] = "sqlite:///spike-to-log.db"
    database_pool_size: Annotated[int, Field(ge=1, le=100)] = 10
    database_timeout: Annotated[float, Field(gt=0, le=9)] = 3.0
    payments_url: HttpUrl = HttpUrl("http://127.0.0.1:8001")
    payments_timeout: Annotated[float, Field(gt=0, le=30)] = 2.0
    faults: Literal["on", "off"] = "off"

    @property
    def async_database_url(self) -> URL:
        """The URL of the database, with its asynchronous driver."""
        return _async_url(self.database_url)
