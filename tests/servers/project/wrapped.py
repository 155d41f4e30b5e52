"""The shop with the middleware around a FastAPI application that is not observed itself."""

from fastapi import FastAPI

from app.observability import ObservabilityMiddleware
from tests.servers.project.service import app as shop

api = FastAPI()
api.include_router(shop.router)
app = ObservabilityMiddleware(api, exclude={"/metrics"})
