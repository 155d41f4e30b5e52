"""The FastAPI application of each service."""

from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app.errors import RESPONSES, add_error_handlers
from app.settings import ServerSettings


def create_api(settings: ServerSettings, **options: Any) -> FastAPI:  # noqa: ANN401 - FastAPI's options
    """Create an application with the errors, the limits and the documentation of every service."""
    # FastAPI would load Swagger UI from another site. Redoc is off, because it loads a picture from one anyway.
    api = FastAPIOffline(
        responses=RESPONSES,
        max_body_size=settings.max_body_bytes,
        redirect_slashes=False,  # a redirect would contain the Host header
        redoc_url=None,
        swagger_ui_parameters={"validatorUrl": None},  # Swagger UI would send the URL of the schema to swagger.io
        **options,
    )
    add_error_handlers(api)
    return api
