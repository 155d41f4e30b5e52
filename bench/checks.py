"""What a variant does beside being cheap, found out by asking it."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple
from uuid import uuid4

import httpx2

from bench.application import BROKEN, METRICS, PATH, ROUTE, headers
from bench.served import served
from bench.variants import Variant

_PATIENCE = 3  # seconds for lines that are written after the response
_MANY = 20

ON_500 = "id on the unhandled 500's response"
EXEMPLAR = "exemplar with the id on the histogram"
TEMPLATE = "template with an included router's prefix as label"
ONE_LINE = "exactly one line per request, with the id"
FACTS = "status and duration are fields of that line"
CHECKS = (ON_500, EXEMPLAR, TEMPLATE, ONE_LINE, FACTS)


class Asked(NamedTuple):
    """A request that was made: the ids it came with, of which each variant has its own, and its answer."""

    ids: tuple[str, str]
    response: httpx2.Response


def check(variant: Variant) -> dict[str, bool]:
    """Return what `variant` does, by the names in `CHECKS`."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "lines")
        with served(variant, output) as server, httpx2.Client(base_url=server.url) as client:
            good = [_ask(client, path) for path in [PATH] * _MANY + ["/nowhere"]]
            lines = _lines(output, good)
            page = client.get(METRICS, headers={"accept": "application/openmetrics-text"}).text
            broken = _ask(client, BROKEN)  # last: uvicorn closes the connection
    buckets = [line for line in page.splitlines() if re.match(r"\w+_bucket{", line)]
    exemplars = " ".join(line.partition(" # ")[2] for line in buckets)
    return {
        ON_500: _named_in(broken.response.headers, broken.ids) and broken.response.status_code == 500,  # noqa: PLR2004
        EXEMPLAR: any(each in exemplars for asked in good for each in asked.ids),
        TEMPLATE: any(f'"{ROUTE}"' in line for line in buckets),
        ONE_LINE: all(len(each) == 1 for each in lines),
        FACTS: all(_has_facts(line) for each in lines for line in each) and any(lines),
    }


def _ask(client: httpx2.Client, path: str) -> Asked:
    ids = (uuid4().hex, uuid4().hex)
    return Asked(ids, client.get(path, headers=headers(*ids)))


def _named_in(answered: Mapping[str, str], ids: tuple[str, ...]) -> bool:
    return any(each in value for value in answered.values() for each in ids)


def _lines(output: Path, asked: list[Asked]) -> list[list[dict[str, object]]]:
    """Return the lines of each request, as soon as they are all there."""
    until = monotonic() + _PATIENCE
    while True:
        texts = output.read_text().splitlines()
        found = [[json.loads(text) for text in texts if any(each in text for each in one.ids)] for one in asked]
        if all(found) or monotonic() > until:
            return found
        sleep(0.1)


def _has_facts(line: Mapping[str, object]) -> bool:
    return any("status" in key for key in line) and any("duration" in key for key in line)
