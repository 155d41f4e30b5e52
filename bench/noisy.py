"""`python -m bench.noisy`: the service, but for a while random requests are slow, independent of the user."""

import asyncio
import os
import random
import time

from starlette.types import Receive, Scope, Send

from app import main
from app.limits import LimitsMiddleware
from app.observability import configure_logging
from app.server import serve

_SHARE = 0.03
_MIN_DELAY, _MAX_DELAY = 0.6, 2.0  # seconds
_PROBES = ("/healthz", "/readyz", "/metrics")

#: Environment variables: seconds from the first request to the noise, its duration in seconds, and the random seed.
START, DURATION, SEED = "NOISE_START", "NOISE_DURATION", "NOISE_SEED"


class NoisyMiddleware(LimitsMiddleware):
    """The limits with random delays, which are part of the logged duration of a request."""

    began: float | None = None
    rng = random.Random(os.environ.get(SEED, "0"))  # noqa: S311 - not for security

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, possibly after a delay."""
        if scope["type"] == "http" and scope["path"] not in _PROBES and self._is_delayed():
            await asyncio.sleep(self.rng.uniform(_MIN_DELAY, _MAX_DELAY))
        await super().__call__(scope, receive, send)

    def _is_delayed(self) -> bool:
        now = time.monotonic()
        NoisyMiddleware.began = NoisyMiddleware.began or now
        elapsed = now - NoisyMiddleware.began - float(os.environ[START])
        return 0 <= elapsed < float(os.environ[DURATION]) and self.rng.random() < _SHARE


if __name__ == "__main__":
    configure_logging("api")
    main.LimitsMiddleware = NoisyMiddleware  # type: ignore[attr-defined]
    serve("api")
