"""A Loki in memory, which understands the few queries that explain incidents."""

import json
import re
import time
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from math import inf
from operator import itemgetter
from typing import Any

from tests.triage.fake_service import Line
from triage.stores.client import HttpClient, NoResponseError
from triage.timestamps import parse

_LITERAL = r'"((?:[^"\\]|\\.)*)"'


class FakeLoki(HttpClient):
    """Log lines in memory, up to the time `now`."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        """Store lines, with their service and level as labels."""
        super().__init__("Loki", "http://127.0.0.1:1")
        self._stored = sorted(((parse(line["timestamp"]), json.dumps(line), line) for line in lines), key=itemgetter(0))
        self.now = inf
        self.largest_page = 0
        self.pushes = 0
        self.responds = True
        self.delay = 0.0  # seconds until a response

    def pushed(self) -> list[Line]:
        """Return the lines of the tour."""
        return [line for _, _, line in self._stored if line["service"] == "tour"]

    def text(self, path: str, accept: str = "*/*", **query: str | float) -> str:
        """Respond to `query_range`."""
        del path, accept
        if not self.responds:
            msg = "Loki does not respond"
            raise NoResponseError(msg)
        time.sleep(self.delay)
        expr = str(query["query"])
        if counted := re.fullmatch(r"sum by \((.*)\) \(count_over_time\((.*) \[(\d+)s\]\)\)", expr):
            result = self._count(counted[1].split(", "), counted[2], int(counted[3]), query)
        else:
            result = self._select(expr, query)
        return json.dumps({"data": {"result": result}})

    def post(self, path: str, body: Any) -> None:
        """Store pushed lines, each once."""
        del path
        self.pushes += 1
        for stream in body["streams"]:
            for _, text, _ in stream["values"]:
                line = json.loads(text)
                if line not in self.pushed():
                    insort(self._stored, (parse(line["timestamp"]), text, line), key=itemgetter(0))

    def _matching(self, expr: str, start: float, end: float) -> Iterable[tuple[float, str, Line]]:
        selector, _, word = expr.partition("} |= ")
        matchers = [
            (name, re.compile(value if operator == "=~" else re.escape(json.loads(f'"{value}"'))))
            for name, operator, value in re.findall(rf"(\w+)(=~?){_LITERAL}", selector)
        ]
        first, last = (bisect_left(self._stored, at, key=itemgetter(0)) for at in (start, min(end, self.now)))
        for at, text, line in self._stored[first:last]:
            labels = {"service_name": line["service"], "level": line["level"]}
            if word[1:-1] in text and all(value.fullmatch(labels[name]) for name, value in matchers):
                yield at, text, line

    def _count(self, labels: list[str], expr: str, step: int, query: dict[str, Any]) -> list[Any]:
        counts: dict[tuple[str, ...], dict[float, int]] = defaultdict(lambda: defaultdict(int))
        for at, _, line in self._matching(expr, float(query["start"]) - step, float(query["end"])):
            key = tuple(line[label.replace("service_name", "service")] for label in labels)
            counts[key][-(-at // step) * step] += 1
        return [
            {"metric": dict(zip(labels, key, strict=True)), "values": [[at, str(number)] for at, number in of.items()]}
            for key, of in counts.items()
        ]

    def _select(self, expr: str, query: dict[str, Any]) -> list[Any]:
        found = list(self._matching(expr, int(query["start"]) / 1e9, int(query["end"]) / 1e9))
        limit = int(query["limit"])
        found = found[:limit] if query["direction"] == "forward" else found[-limit:]
        self.largest_page = max(self.largest_page, len(found))
        return [{"values": [[f"{round(at * 1e9)}", text] for at, text, _ in found]}]
