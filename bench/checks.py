"""Check the features of a variant by sending requests to it."""

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

_TIMEOUT = 3  # seconds to wait for lines that are written after the response
_REQUESTS = 20

ON_500 = "id on the unhandled 500's response"
EXEMPLAR = "exemplar with the id on the histogram"
TEMPLATE = "template with an included router's prefix as label"
ONE_LINE = "exactly one line per request, with the id"
FIELDS = "status and duration are fields of that line"
CHECKS = (ON_500, EXEMPLAR, TEMPLATE, ONE_LINE, FIELDS)


class Exchange(NamedTuple):
    """A request and its response. Each variant uses one of the two ids that were sent."""

    ids: tuple[str, str]
    response: httpx2.Response


def check(variant: Variant) -> dict[str, bool]:
    """Return which of `CHECKS` the variant passes."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "lines")
        with served(variant, output) as server, httpx2.Client(base_url=server.url) as client:
            exchanges = [_send(client, path) for path in [PATH] * _REQUESTS + ["/nowhere"]]
            lines = _lines(output, exchanges)
            page = client.get(METRICS, headers={"accept": "application/openmetrics-text"}).text
            failed = _send(client, BROKEN)  # last: uvicorn closes the connection
    buckets = [line for line in page.splitlines() if re.match(r"\w+_bucket{", line)]
    exemplars = " ".join(line.partition(" # ")[2] for line in buckets)
    return {
        ON_500: _contains_id(failed.response.headers, failed.ids) and failed.response.status_code == 500,  # noqa: PLR2004
        EXEMPLAR: any(each in exemplars for exchange in exchanges for each in exchange.ids),
        TEMPLATE: any(f'"{ROUTE}"' in line for line in buckets),
        ONE_LINE: all(len(each) == 1 for each in lines),
        FIELDS: all(_has_fields(line) for each in lines for line in each) and any(lines),
    }


def _send(client: httpx2.Client, path: str) -> Exchange:
    ids = (uuid4().hex, uuid4().hex)
    return Exchange(ids, client.get(path, headers=headers(*ids)))


def _contains_id(headers: Mapping[str, str], ids: tuple[str, ...]) -> bool:
    return any(each in value for value in headers.values() for each in ids)


def _lines(output: Path, exchanges: list[Exchange]) -> list[list[dict[str, object]]]:
    """Return the log lines of each request; wait until every request has one."""
    deadline = monotonic() + _TIMEOUT
    while True:
        texts = output.read_text().splitlines()
        found = [[json.loads(text) for text in texts if any(each in text for each in one.ids)] for one in exchanges]
        if all(found) or monotonic() > deadline:
            return found
        sleep(0.1)


def _has_fields(line: Mapping[str, object]) -> bool:
    return any("status" in key for key in line) and any("duration" in key for key in line)
