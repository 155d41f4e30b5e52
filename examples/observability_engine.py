"""Put the trace id of each request into all of its log lines, with the standard library and FastAPI only.

Run `pip install fastapi uvicorn`, `uvicorn observability_engine:app` and `curl -i localhost:8000/users/42`.
"""

import asyncio
import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from time import perf_counter
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

# A ContextVar has a separate value in each request. A global variable would be shared by all of them.
trace_id: ContextVar[str] = ContextVar("trace_id", default="-")


class JsonFormatter(logging.Formatter):
    """Format a log record as one line of JSON, with the trace id of the current request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "message": record.getMessage(),
            "trace_id": trace_id.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.INFO, handlers=[handler])
logging.getLogger("uvicorn").handlers = [handler]
logging.getLogger("uvicorn.access").disabled = True  # trace_request() logs every request
logger = logging.getLogger("users")

app = FastAPI()
SLOW_USER = 42


@app.middleware("http")
async def trace_request(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Give the request a trace id, measure it and log it."""
    token = trace_id.set(request.headers.get("X-Request-ID") or uuid4().hex)
    started = perf_counter()
    try:
        response = await call_next(request)
        duration_ms = round((perf_counter() - started) * 1000, 3)
        fields = {"path": request.url.path, "status": response.status_code, "duration_ms": duration_ms}
        logger.info("Request finished", extra={"fields": fields})
        response.headers["X-Trace-ID"] = trace_id.get()
        return response
    finally:
        trace_id.reset(token)


@app.get("/users/{user_id}")
async def get_user(user_id: int) -> dict[str, int | str]:
    """Return a user. No function below has an argument for the trace id, and every line has it."""
    logger.info("Fetching user", extra={"fields": {"user_id": user_id}})
    try:
        async with asyncio.timeout(0.5):
            name = await query_name(user_id)
    except TimeoutError:
        logger.exception("Database timeout while fetching user", extra={"fields": {"user_id": user_id}})
        raise HTTPException(503, "The database did not answer in time.") from None
    return {"id": user_id, "name": name}


async def query_name(user_id: int) -> str:
    """Stand in for a database that is too slow for one user."""
    await asyncio.sleep(2 if user_id == SLOW_USER else 0.1)
    return f"User {user_id}"
