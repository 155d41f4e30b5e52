"""The first half: one process, one event loop, applications called without a server."""

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

_SETTLE = 200  # requests that nobody measures: caches fill, the interpreter specialises, metrics get their series
_REST = 0.01  # seconds for each request of a round


class Candidate(NamedTuple):
    """An application, and the handlers of the root logger while it is asked."""

    app: ASGIApp
    handlers: list[logging.Handler]


class Measured(NamedTuple):
    """CPU seconds of a request, one for each round, by candidate; and of a second without any.

    `resting` is the latter before and after ours was asked for the first time.
    """

    rounds: dict[str, list[float]]
    resting: tuple[float, float]


def measure(variants: Mapping[str, Variant], rounds: int, requests: int) -> Measured:
    """Ask all variants, and all parts of ours, in a new order each round."""
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
    resting = await _rest(requests)
    await _ask(candidates[OURS.name], 1)
    measured = Measured({name: [] for name in candidates}, (resting, await _rest(requests)))
    for candidate in candidates.values():
        await _ask(candidate, _SETTLE)
    # Every variant pays for the garbage that it makes, and none for looking through what the others keep.
    gc.collect()
    gc.freeze()
    order, shuffled = list(candidates), random.Random(1)  # noqa: S311 - an order
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            gc.collect()
            measured.rounds[name].append(await _ask(candidates[name], requests))
    return measured


async def _rest(requests: int) -> float:
    began = process_time()
    await asyncio.sleep(_REST * requests)
    return (process_time() - began) / (_REST * requests)


async def _ask(candidate: Candidate, requests: int) -> float:
    logging.getLogger().handlers[:] = candidate.handlers
    logging.getLogger().setLevel(logging.INFO)
    app = candidate.app
    began = process_time()
    for _ in range(requests):
        await app(_scope(), _receive, _send)
        # A server's loop turns between two requests; timers of the loop would be late if this one did not.
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
    # An application that does not answer is cheap, and no answer.
    if message.get("status", 200) != 200:  # noqa: PLR2004 - what was asked is there
        msg = f"A variant answered {message['status']}."
        raise RuntimeError(msg)
