"""The services as child processes, with their log lines and metrics."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.emitted import Line, parse
from tests.processes import Processes, free_port
from tests.waiting import wait_for


@dataclass(frozen=True)
class Service:
    """A running service."""

    name: str
    url: str
    output: Path
    client: httpx2.Client

    def lines(self, trace_id: str | None = None) -> list[Line]:
        """Return the complete lines so far, only those of one trace if an id is given."""
        complete, _, _ = self.output.read_text().rpartition("\n")
        if trace_id is None:
            return parse(complete)
        mentioned = "\n".join(line for line in complete.split("\n") if trace_id in line)
        return [line for line in parse(mentioned) if trace_id == line["trace_id"]]

    def finished(self, trace_id: str) -> Line:
        """Wait for the `request.finished` line of a trace and return it."""

        def look() -> Line | None:
            return next((line for line in self.lines(trace_id) if line.get("event") == "request.finished"), None)

        return wait_for(look, f"the line of {trace_id}")

    def event(self, name: str, **fields: object) -> Line:
        """Wait for a line with this event and these fields, and return it."""

        def look() -> Line | None:
            found = (line for line in self.lines() if line.get("event") == name)
            return next((line for line in found if fields.items() <= line.items()), None)

        return wait_for(look, name)

    def samples(self) -> list[Sample]:
        """Return the samples that Prometheus would scrape."""
        page = self.client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text
        return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def unavailable(url: str) -> httpx2.Response | None:
    """Return the response if its status is 503."""
    response = httpx2.get(url, timeout=20)
    return response if response.status_code == 503 else None


@contextmanager
def running(
    processes: Processes,
    service: str,
    settings: Mapping[str, str],
    name: str = "",
    program: Sequence[str] = ("-m", "app"),
) -> Iterator[Service]:
    """Start a service on a free port, wait until it is ready, and stop it after the `with` block."""
    name, port = name or service, free_port()
    url = f"http://127.0.0.1:{port}"
    processes.start(name, [sys.executable, *program, service], {"LOG_LEVEL": "debug", **settings, "PORT": str(port)})
    try:
        processes.wait_until_ready(name, f"{url}/readyz")
        with httpx2.Client(base_url=url, timeout=30) as client:
            yield Service(name, url, processes.output(name), client)
    finally:
        processes.stop(name)
