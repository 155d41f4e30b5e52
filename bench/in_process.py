"""Measure the variants in process: one event loop, and applications that are called without a server."""

import asyncio
import gc
import logging
import random
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple, TextIO

import uvloop
from starlette.types import ASGIApp, Message

from bench.application import PATH, headers
from bench.variants import OURS, Variant
from bench.variants.ours import parts

_WARM_UP = 200  # requests before the measurement, for caches, the specialising interpreter and new metric series
_IDLE = 0.01  # seconds per request of a round


class Candidate(NamedTuple):
    """An application, and the handlers of the root logger while it serves requests."""

    app: ASGIApp
    handlers: list[logging.Handler]


class Measured(NamedTuple):
    """CPU seconds per request, one value for each round, by candidate.

    `idle` is the CPU time of an idle second, before and after the first request to `ours`.
    """

    rounds: dict[str, list[float]]
    idle: tuple[float, float]


def measure(variants: Mapping[str, Variant], rounds: int, requests: int) -> Measured:
    """Measure all variants, and all parts of ours, in a new order each round."""
    with Path("/dev/null").open("w", encoding="utf-8") as stream:
        candidates = {name: _candidate(variant, stream) for name, variant in variants.items()}
        for name, (app, handlers) in parts(stream).items():
            candidates[name] = Candidate(app, handlers)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measure(candidates, rounds, requests))


def _candidate(variant: Variant, stream: TextIO) -> Candidate:
    app = variant.build()(stream, served=False)
    return Candidate(app, logging.getLogger().handlers[:])


async def _measure(candidates: Mapping[str, Candidate], rounds: int, requests: int) -> Measured:
    idle = await _idle(requests)
    await _run(candidates[OURS.name], 1)
    measured = Measured({name: [] for name in candidates}, (idle, await _idle(requests)))
    for candidate in candidates.values():
        await _run(candidate, _WARM_UP)
    # Each variant pays for the garbage that it creates, but not for traversing the objects of the other variants.
    gc.collect()
    gc.freeze()
    order, rng = list(candidates), random.Random(1)  # noqa: S311 - an order
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            gc.collect()
            measured.rounds[name].append(await _run(candidates[name], requests))
    return measured


async def _idle(requests: int) -> float:
    began = process_time()
    await asyncio.sleep(_IDLE * requests)
    return (process_time() - began) / (_IDLE * requests)


async def _run(candidate: Candidate, requests: int) -> float:
    logging.getLogger().handlers[:] = candidate.handlers
    logging.getLogger().setLevel(logging.INFO)
    app = candidate.app
    began = process_time()
    for _ in range(requests):
        await app(_scope(), _receive, _send)
        # A server's event loop runs other callbacks between two requests. Without this, its timers would be late.
        await asyncio.sleep(0)
    return (process_time() - began) / requests


_HEADERS = [(b"host", b"127.0.0.1:8000"), *((name.encode(), value.encode()) for name, value in headers().items())]


def _scope() -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": list(_HEADERS),
        "state": {},
    }


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    # An error response would be cheaper than the real one.
    if message.get("status", 200) != 200:  # noqa: PLR2004 - HTTP 200
        msg = f"A variant responded with status {message['status']}."
        raise RuntimeError(msg)
