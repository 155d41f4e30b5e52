"""The tab "Slowest requests" of Locust's web UI, with a link to the log lines of each request."""

import heapq
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Response, json, request

from triage.ids import is_id
from triage.links import trace_logs_url

if TYPE_CHECKING:  # importing Locust patches the standard library, and this module is used without it, too
    from locust.env import Environment
    from locust.event import Events
    from locust.web import WebUI

_LIMIT = 20
_KEY = "slowest-requests"  # of the tab and its table, in the address of the page, and of the workers' reports
_COLUMNS = {
    "time": "Sent at",
    "duration": "Duration (ms)",
    "method": "Method",
    "request": "Name",  # with the key `name`, Locust would sort the rows by it
    "status": "Status",
    "lines": "Log lines",
}


class SlowRequest(NamedTuple):
    """A request, in the order in which two of them are compared."""

    duration_ms: float
    sent_at: float  # seconds since 1970
    method: str
    name: str
    status: int
    trace_id: str  # empty if neither the client nor the response has a valid one


class SlowestRequests:
    """The slowest requests of the current run; in a worker, those since its last report."""

    def __init__(self, limit: int = _LIMIT) -> None:
        """Start without requests."""
        self._limit = limit
        self._requests: list[SlowRequest] = []  # the fastest first

    def add_listeners(self, events: "Events") -> None:
        """Follow the requests of this process, or the reports of its workers, and add the tab to the web UI."""
        events.request.add_listener(self.on_request)
        events.test_start.add_listener(self.clear)
        events.reset_stats.add_listener(self.clear)
        events.report_to_master.add_listener(self.on_report_to_master)
        events.worker_report.add_listener(self.on_worker_report)
        events.init.add_listener(self.add_tab)

    def on_request(  # noqa: PLR0913 - the arguments of Locust's request event
        self,
        *,
        request_type: str,
        name: str,
        response_time: float,
        response: Any = None,  # noqa: ANN401 - depends on the user's client
        context: Mapping[str, Any] | None = None,
        start_time: float | None = None,
        **_: object,
    ) -> None:
        """Keep a finished request if it is one of the slowest."""
        if len(self._requests) == self._limit and response_time <= self._requests[0].duration_ms:
            return
        sent_at = time.time() - response_time / 1000 if start_time is None else start_time
        # A service that chooses its own trace id returns it.
        returned = (getattr(response, "headers", None) or {}).get("X-Trace-ID")
        trace_id = _valid(returned) or _valid((context or {}).get("trace_id"))
        status = getattr(response, "status_code", None) or 0
        self._add([SlowRequest(response_time, sent_at, request_type, name, status, trace_id)])

    def on_report_to_master(self, *, data: dict[str, Any], **_: object) -> None:
        """Move the requests to a worker's report."""
        data[_KEY] = self._requests
        self._requests = []

    def on_worker_report(self, *, data: Mapping[str, Any], **_: object) -> None:
        """Add the requests of a worker's report."""
        self._add(SlowRequest(*each) for each in data.get(_KEY, ()))

    def _add(self, requests: Iterable[SlowRequest]) -> None:
        self._requests = heapq.nlargest(self._limit, [*self._requests, *requests])[::-1]

    def clear(self, **_: object) -> None:
        """Forget all requests."""
        self._requests.clear()

    def rows(self, grafana: str) -> list[dict[str, object]]:
        """Return the rows of the table, the slowest request first; `grafana` is a URL."""
        return [
            {
                "time": f"{datetime.fromtimestamp(each.sent_at, UTC).isoformat(timespec='milliseconds')[:-6]}Z",
                "duration": round(each.duration_ms),
                "method": each.method,
                "request": each.name,
                "status": each.status or "no response",
                "lines": trace_logs_url(grafana, each.trace_id, each.sent_at) if each.trace_id else "no trace id",
            }
            for each in reversed(self._requests)
        ]

    def add_tab(self, environment: "Environment", web_ui: "WebUI | None", **_: object) -> None:
        """Add the tab to the web UI, if there is one."""
        options = environment.parsed_options
        if web_ui is None or web_ui.app is None or options is None:
            return
        structure = [{"key": key, "title": title} for key, title in _COLUMNS.items()]
        web_ui.template_args["extended_tabs"] = [{"key": _KEY, "title": "Slowest requests"}]
        web_ui.template_args["extended_tables"] = [{"key": _KEY, "structure": structure}]
        script = f"<script>\n{Path(__file__).with_name('slowest.js').read_text(encoding='utf-8')}</script>"

        def extend(response: Response) -> Response:
            endpoint = (request.endpoint or "").rpartition(".")[2]
            if response.status_code != 200:  # noqa: PLR2004 - such as a refused request
                return response
            if endpoint == "request_stats":
                rows = self.rows(f"http://localhost:{options.grafana_port}")
                response.set_data(json.dumps({**response.get_json(), "extended_stats": [{"key": _KEY, "data": rows}]}))
            elif endpoint == "index":
                response.set_data(response.get_data(as_text=True).replace("</body>", f"{script}</body>"))
            return response

        web_ui.app.after_request(extend)


def _valid(trace_id: object) -> str:
    return trace_id if isinstance(trace_id, str) and is_id(trace_id) else ""
