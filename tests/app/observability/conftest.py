"""Fixtures for tests of the folder."""

import pytest
from prometheus_client import CollectorRegistry

from app.observability import ObservabilityMiddleware


async def application(_scope: object, _receive: object, _send: object) -> None: ...


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return a registry with the metrics of a service."""
    registry = CollectorRegistry()
    ObservabilityMiddleware(application, registry=registry)
    return registry
