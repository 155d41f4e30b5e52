"""What all tests share."""

import io
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.emitted import Emitted


@pytest.fixture
def anyio_backend() -> str:
    """Run `anyio` tests on asyncio, which is what the services run on."""
    return "asyncio"


@pytest.fixture
def emitted() -> Iterator[Emitted]:
    """Take what a service emits; afterwards, logging is as it was."""
    root, warnings = logging.getLogger(), logging.getLogger("py.warnings")
    before = (root.handlers[:], root.level, warnings.handlers[:])
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield Emitted(io.StringIO())
    root.handlers[:], root.level, warnings.handlers[:] = before
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(capture=False)
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.filters.clear()
