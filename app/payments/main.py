"""Composition root of payments."""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.cross_site import CrossSiteMiddleware
from app.errors import RESPONSES, add_error_handlers
from app.health import PROBES, health_router
from app.limits import LimitsMiddleware
from app.observability import ObservabilityMiddleware
from app.payments.router import charges_router
from app.settings import PaymentsSettings


def create_app(settings: PaymentsSettings) -> ObservabilityMiddleware:
    """Create the payments service."""
    registry = CollectorRegistry()
    api = FastAPI(
        title="Payments",
        responses=RESPONSES,
        max_body_size=settings.max_body_bytes,
        redirect_slashes=False,  # a redirect would contain the Host header
    )
    api.include_router(charges_router())
    api.include_router(health_router(registry, checks={}))
    add_error_handlers(api)
    return ObservabilityMiddleware(
        CrossSiteMiddleware(LimitsMiddleware(api, settings.max_header_bytes), settings.allowed_host_names),
        registry=registry,
        exclude=PROBES,
        payload_values={"order_id", "amount_cents"},
        server_timing=settings.server_timing == "on",
    )
