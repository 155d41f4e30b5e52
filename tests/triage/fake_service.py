"""A fake service that writes log lines and samples like the real one."""

import hashlib
import json
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from triage.timestamps import rfc3339

T0 = time.time() // 1_000 * 1_000 - 1_000  # some minutes ago, because a real Loki rejects old lines
RUN = "20261123T031400a7"
Line = dict[str, Any]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def hexadecimal(name: object, digits: int) -> str:
    return hashlib.sha256(repr(name).encode()).hexdigest()[:digits]


class FakeService:
    """One instance of a service, which finishes requests, is scraped, starts and stops."""

    def __init__(self, service: str = "api", instance: str = "127.0.0.1:8000") -> None:
        """Start without lines."""
        self.lines: list[Line] = []
        self.service, self.instance = service, instance
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        self._sums: dict[tuple[str, str, str], float] = {}
        self._exemplars: dict[tuple[tuple[str, str, str], int], Mapping[str, object]] = {}
        self._number = 0

    def line(self, at: float, message: str, trace_id: str = "-", **fields: object) -> Line:
        """Log a line."""
        span_id = "-" if trace_id == "-" else hexadecimal((self.instance, trace_id), 16)
        line = {
            "timestamp": rfc3339(at), "level": "info", "service": self.service, "instance": self.instance,
            "trace_id": trace_id, "span_id": span_id, "logger": "app", "message": message, **fields,
        }  # fmt: skip
        self.lines.append(line)
        return line

    def finish(
        self,
        at: float,
        duration_ms: float,
        *,
        method: str = "GET",
        route: str = "/users/{user_id}",
        status: int = 200,
        trace_id: str | None = None,
        observed: bool = True,
        **fields: object,
    ) -> Line:
        """Log a finished request and, if `observed`, count it."""
        self._number += 1
        trace_id = trace_id or hexadecimal((self.service, self.instance, self._number), 32)
        about = {"method": method, "route": route, "status": status, "duration_ms": duration_ms, "outcome": "ok"}
        line = self.line(at, "Request finished", trace_id, event="request.finished", **about, **fields)
        if observed:
            series, place = (method, route, str(status)), bisect_left(_BUCKETS, duration_ms / 1000)
            self._counts.setdefault(series, [0] * (len(_BUCKETS) + 1))[place] += 1
            self._sums[series] = self._sums.get(series, 0.0) + duration_ms / 1000
            self._exemplars[series, place] = {
                "trace_id": trace_id, "span_id": line["span_id"], "value": duration_ms / 1000, "timestamp": at,
            }  # fmt: skip
        return line

    def scrape(self, at: float, *, exemplars: bool = True) -> None:
        """Write the samples of a scrape."""
        for series, counts in self._counts.items():
            labels = dict(zip(("method", "route", "status"), series, strict=True))
            total = 0
            for place, bound in enumerate((*_BUCKETS, inf)):
                total += counts[place]
                exemplar = self._exemplars.get((series, place)) if exemplars else None
                le = "+Inf" if bound == inf else str(bound)
                self._sample(at, "bucket", labels, total, le=le, exemplar=exemplar)
            self._sample(at, "count", labels, total)
            self._sample(at, "sum", labels, self._sums[series])
        if not self._counts:
            self.lines.append(
                self._about(at) | {"metric": "log_records_total", "labels": {"level": "info"}, "value": 1}
            )

    def _sample(self, at: float, what: str, labels: Mapping[str, str], value: float, **more: object) -> None:
        sample = {"metric": f"http_request_duration_seconds_{what}", "labels": labels, "value": value}
        self.lines.append(self._about(at) | {**sample, "le": None, "exemplar": None, **more})

    def _about(self, at: float) -> Line:
        return {
            "timestamp": rfc3339(at), "event": "metric.sample", "service": self.service, "instance": self.instance,
        }  # fmt: skip

    def start(self, at: float) -> None:
        """Start a new process."""
        self._counts.clear()
        self._sums.clear()
        self._exemplars.clear()
        self.line(at, "Service started", event="service.started")

    def stop(self, at: float) -> None:
        """Stop normally, with the totals since the start."""
        totals: dict[str, dict[str, int]] = {}
        for (_, route, status), counts in self._counts.items():
            of_route = totals.setdefault(route, {})
            of_route[status] = of_route.get(status, 0) + sum(counts)
        self.line(at, "Service stopped", event="service.stopped", totals=totals)


def sent(at: float, number: int, status: int | None = 200, run: str = RUN, **fields: object) -> Line:
    """Return the load generator's line of one request."""
    return {
        "timestamp": rfc3339(at), "event": "request.sent", "service": "loadtest", "run": run,
        "request_id": f"{run}-0-{number}", "trace_id": hexadecimal((run, number), 32), "method": "GET",
        "route": "/users/{user_id}", "status": status, "client_ms": 12.5, "error": None, **fields,
    }  # fmt: skip


def write(path: Path, lines: Iterable[Line]) -> Path:
    """Write lines to a file, as a process does."""
    path.write_text("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines))
    return path
