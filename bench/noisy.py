"""`python -m bench.noisy`: the service, in which for a while some requests of any user are slow for no reason."""

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
_LEAST, _MOST = 0.6, 2.0  # seconds
_PROBES = ("/healthz", "/readyz", "/metrics")

#: Seconds from the first request to the noise, how long it lasts, and the seed of who is hit.
BEGINS, LASTS, SEED = "NOISE_BEGINS", "NOISE_LASTS", "NOISE_SEED"


class Noisy(LimitsMiddleware):
    """The limits, which stand where everything inside is in a request's duration; and the noise."""

    began: float | None = None
    chance = random.Random(os.environ.get(SEED, "0"))  # noqa: S311 - no secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request wait, perhaps, and serve it."""
        if scope["type"] == "http" and scope["path"] not in _PROBES and self._unlucky():
            await asyncio.sleep(self.chance.uniform(_LEAST, _MOST))
        await super().__call__(scope, receive, send)

    def _unlucky(self) -> bool:
        now = time.monotonic()
        Noisy.began = Noisy.began or now
        passed = now - Noisy.began - float(os.environ[BEGINS])
        return 0 <= passed < float(os.environ[LASTS]) and self.chance.random() < _SHARE


if __name__ == "__main__":
    configure_logging("api")
    main.LimitsMiddleware = Noisy  # type: ignore[attr-defined]
    serve("api")
