"""Composition root of payments."""

from prometheus_client import CollectorRegistry

from app.api import create_api
from app.connections import connections_closed
from app.cross_site import CrossSiteMiddleware
from app.health import PROBES, health_router
from app.limits import LimitsMiddleware
from app.observability import ObservabilityMiddleware
from app.payments.router import charges_router
from app.settings import PaymentsSettings


def create_app(settings: PaymentsSettings) -> ObservabilityMiddleware:
    """Create the payments service."""
    registry = CollectorRegistry()
    registry.register(connections_closed)
    api = create_api(settings, title="Payments")
    api.include_router(charges_router())
    api.include_router(health_router(registry, checks={}))
    return ObservabilityMiddleware(
        CrossSiteMiddleware(LimitsMiddleware(api, settings), settings.allowed_host_names),
        registry=registry,
        exclude=PROBES,
        payload_values={"order_id", "amount_cents"},
        server_timing=settings.server_timing == "on",
    )
