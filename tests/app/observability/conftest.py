"""Fixtures for tests of the folder."""

import pytest
from hypothesis import HealthCheck, settings
from prometheus_client import CollectorRegistry

from app.observability import ObservabilityMiddleware

# `make test-properties` runs the property tests with many more examples.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("default")
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=5_000)


async def application(_scope: object, _receive: object, _send: object) -> None: ...


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return a registry with the metrics of a service."""
    registry = CollectorRegistry()
    ObservabilityMiddleware(application, registry=registry)
    return registry
