"""FastAPI alone."""

import logging
from typing import TextIO

from starlette.types import ASGIApp

from bench.application import api


def build(stream: TextIO, *, served: bool) -> ASGIApp:  # noqa: ARG001 - it writes no lines
    """Build the application without any instrumentation."""
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    return api()
