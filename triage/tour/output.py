"""The text of the tour: a few blocks that a newcomer can follow."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from triage.console import Console, Piece
from triage.endpoints import Endpoints
from triage.links import trace_logs_url
from triage.models import LogLine
from triage.spikes import SLOW, Spike
from triage.stores.prometheus import LabelledExemplar
from triage.timestamps import clock
from triage.tour.steps import FIXES, BrokenStepError, Success
from triage.trace import show_lines

_BEFORE, _AFTER, _MIN_WINDOW = 60, 60, 150  # seconds around a spike in the link to the dashboard
_MAX_LINES = 16
_INDENT = "          "  # as wide as a time of day


class SlowRequest(NamedTuple):
    """A spike, one of its slow requests, and that request's lines."""

    spike: Spike
    exemplar: LabelledExemplar
    lines: Sequence[LogLine]


class Output:
    """Print the tour, with addresses to open in a browser."""

    def __init__(self, console: Console, endpoints: Endpoints) -> None:
        """Print on `console`."""
        self._console, self._endpoints = console, endpoints

    def unreadable(self, files: Sequence[Path]) -> None:
        """Print that containers cannot read files of the checkout, and the fix."""
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        folders = sorted({file.parts[0] for file in files})
        line = self._console.line
        line(("Unreadable files: ", "red"), f"containers cannot read {files[0]}{others}.")
        line("The checkout was made with a strict umask. Make its files readable, and start the stack again:")
        line(f"  chmod -R a+rX {' '.join(folders)}")
        line("  docker compose up")
        line()

    def welcome(self) -> None:
        """Print what this is, where to look, and what will happen."""
        line, endpoints = self._console.line, self._endpoints
        line(("From a latency spike to the log lines of the requests that caused it.", "bold"))
        line()
        self._console.table(
            [
                (
                    ("Grafana", "bold"),
                    endpoints.public_grafana,
                    "dashboards; every dot is one request, with a link to its log lines",
                ),
                (("Locust", "bold"), endpoints.public_locust, "the load generator"),
                (("Service", "bold"), f"http://{endpoints.public_api}/docs", "the API under load"),
            ]
        )
        line()
        if not endpoints.load:
            line(f"There is no automatic load (LOAD=off): start a run at {endpoints.public_locust}, or send requests.")
        elif endpoints.incidents:
            line("In a minute, the database becomes slow for some users; one of their requests is then shown here.")
        else:
            line("There are no automatic incidents (LOAD_INCIDENTS=off); the README explains how to start one.")
        line()

    def starting(self, broken: BrokenStepError, now: float) -> None:
        """Print what is not available yet."""
        self._with_time(now, f"Still starting: {broken.reason.rstrip('.')}.")

    def success(self, success: Success, now: float, *, again: bool) -> None:
        """Print that every step works, for which request."""
        number = len(success.lines)
        lines = "its log line is" if number == 1 else f"its {number} log lines are"
        works = "Every step works again" if again else "Every step works"
        duration = _duration(success.exemplar.exemplar.value)
        self._with_time(now, f"{works}: Prometheus has a request that took {duration}, and {lines} in Loki.")

    def no_requests(self, now: float) -> None:
        """Print how to start load."""
        self._with_time(now, f"There are no requests: start a run at {self._endpoints.public_locust}.")

    def broken(self, broken: BrokenStepError, now: float) -> None:
        """Print the broken step and its fix."""
        self._with_time(now, ("Broken step: ", "red"), (str(broken.step.value), "bold red"))
        self._console.line(_INDENT, broken.reason.rstrip("."), ".")
        for fix in FIXES[broken.step]:
            self._console.line(_INDENT, "  ", fix)

    def lost_lines(self, job: str, ratio: float, now: float) -> None:
        """Print that some lines of a service are not stored."""
        self._with_time(now, f"Log lines are lost: Loki has {ratio:.1%} of what {job} wrote in the last ten minutes.")
        self._console.line(
            _INDENT, "Logs rotate faster than Alloy reads them, or Alloy was down: log less, or check Alloy's logs."
        )

    def slow_search(self, seconds: float, now: float) -> None:
        """Print that the search for spikes and lost lines was given up."""
        self._with_time(
            now, f"The search for spikes and lost lines took longer than {seconds:g} s: check Prometheus and Loki."
        )

    def explained(self, message: str, now: float) -> None:
        """Print what the slow and failed requests of an incident have in common."""
        self._with_time(now, ("Why? ", "bold"), message)

    def another_spike(self, spike: Spike, now: float) -> None:
        """Print a later spike in one line."""
        self._with_time(now, f"Another spike since {clock(spike.start)[:8]}: {self._dashboard_url(spike)}")

    def spike(self, found: SlowRequest, now: float) -> None:
        """Print the first spike: where to look, one slow request, and what else there is."""
        line, spike, exemplar = self._console.line, found.spike, found.exemplar
        slow = f"{spike.slow} of {spike.requests} requests took longer than {SLOW * 1000:.0f} ms"
        line()
        self._with_time(now, (f"A spike since {clock(spike.start)[:8]} UTC", "bold"), f": {slow}. In Grafana:")
        line(_INDENT, self._dashboard_url(spike))
        line()
        request = " ".join(exemplar.labels.get(name, "") for name in ("method", "route", "status"))
        duration = _duration(exemplar.exemplar.value)
        line(_INDENT, ("One of them", "bold"), f": {request}, {duration}. Its log lines:")
        line(_INDENT, trace_logs_url(self._endpoints.public_grafana, exemplar.exemplar.trace_id, exemplar.exemplar.at))
        line()
        show_lines(found.lines[:_MAX_LINES], self._console)
        if len(found.lines) > _MAX_LINES:
            line(f"  ... and {len(found.lines) - _MAX_LINES} more")
        line()
        curl = f"curl -i {self._endpoints.public_api}/users/17"
        self._console.table(
            [
                (
                    ("Your own request", "bold"),
                    f"{curl}, then paste its X-Trace-ID into the box at {self._endpoints.public_grafana}",
                ),
                (("Other load", "bold"), self._endpoints.public_locust),
                (("Stop", "bold"), "docker compose down; add --volumes to delete the data"),
            ]
        )
        line()

    def _dashboard_url(self, spike: Spike) -> str:
        start, end = spike.start - _BEFORE, max(spike.end + _AFTER, spike.start + _MIN_WINDOW)
        return f"{self._endpoints.public_grafana}/d/service?from={start * 1000:.0f}&to={end * 1000:.0f}"

    def _with_time(self, now: float, *pieces: Piece) -> None:
        self._console.line((clock(now)[:8], "dim"), "  ", *pieces)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
