"""What the tour prints: a few blocks that a newcomer can follow, each once."""

from triage import links, short_lines
from triage.model import Window
from triage.moments import clock
from triage.screen import Screen
from triage.spike import SLOW, Spike
from triage.tour.hops import MENDS, BrokenError
from triage.tour.places import Places
from triage.tour.spikes import Found
from triage.tour.walk import Walked

_BEFORE, _AFTER, _LEAST = 60, 60, 150  # seconds around a spike, and how much is shown at least
_MOST_LINES = 16
_INDENT = "          "  # as wide as a time of day


class Voice:
    """Says things on a screen, with the addresses that a person opens."""

    def __init__(self, screen: Screen, places: Places) -> None:
        """Say nothing yet."""
        self._screen, self._at = screen, places

    def welcome(self) -> None:
        """Say what this is, where to look, and what will happen."""
        line = self._screen.line
        line(("From a latency spike to the log lines of the requests that caused it.", "bold"))
        line()
        self._places(
            ("Grafana", self._at.open_grafana, "every dot is one request, and leads to its lines"),
            ("Locust", self._at.open_locust, "the load"),
            ("Service", f"http://{self._at.open_api}/docs", "what is loaded"),
        )
        line()
        if not self._at.load:
            line(f"No load runs by itself (LOAD=off): start a run at {self._at.open_locust}, or make requests.")
        elif self._at.incidents:
            line("In a minute, the load makes the database slow for some users; then, a slow request is shown here.")
        else:
            line("No incidents come by themselves (LOAD_INCIDENTS=off). The README says how to make one.")
        line()

    def starting(self, broken: BrokenError, now: float) -> None:
        """Say what is not there yet, and may still come."""
        self._at_time(now, f"Still starting: {broken.why.rstrip('.')}.")

    def whole(self, walked: Walked, now: float, *, again: bool) -> None:
        """Say that the walk works, and along which request."""
        took, number = _time(walked.dot.exemplar.value), len(walked.lines)
        lines = "its line is" if number == 1 else f"its {number} lines are"
        works = "The walk works again" if again else "The walk works"
        self._at_time(now, f"{works}: Prometheus names a request of {took}, and {lines} in Loki.")

    def resting(self, now: float) -> None:
        """Say why there is nothing to see."""
        self._at_time(now, f"Nobody makes requests: start a run at {self._at.open_locust}.")

    def broken(self, broken: BrokenError, now: float) -> None:
        """Name the first broken hop, and its mend."""
        self._at_time(now, ("The walk breaks here: ", "red"), (str(broken.hop.value), "bold red"))
        self._screen.line(_INDENT, broken.why.rstrip("."), ".")
        for mend in MENDS[broken.hop]:
            self._screen.line(_INDENT, "  ", mend)

    def lost(self, job: str, ratio: float, now: float) -> None:
        """Say that lines are lost, although no part of the pipeline knows it."""
        said = f"Lines are lost: of those that {job} wrote in ten minutes, {ratio:.1%} are stored."
        self._at_time(now, said)
        self._screen.line(
            _INDENT, "The logs rotate faster than Alloy reads them, or Alloy was away: write less, or see its logs."
        )

    def spike(self, spike: Spike, now: float) -> None:
        """Tell of one more spike in one line."""
        self._at_time(now, f"Another spike since {clock(spike.start)[:8]}: {self._pinned(spike)}")

    def story(self, found: Found, now: float) -> None:
        """Tell of the first spike: where to look, one slow request, and what else there is."""
        line, spike, dot = self._screen.line, found.spike, found.dot
        slow = f"{spike.slow} of {spike.requests} requests took longer than {SLOW * 1000:.0f} ms"
        line()
        self._at_time(now, (f"A spike since {clock(spike.start)[:8]} UTC", "bold"), f": {slow}. In Grafana:")
        line(_INDENT, self._pinned(spike))
        line()
        what = " ".join(dot.labels.get(name, "") for name in ("method", "route", "status"))
        line(_INDENT, ("One of them", "bold"), f": {what}, {_time(dot.exemplar.value)}. All that was logged for it:")
        line(_INDENT, links.trace_logs(self._at.open_grafana, dot.exemplar.trace_id, dot.exemplar.at))
        line()
        short_lines.show(self._screen, found.lines[:_MOST_LINES])
        if len(found.lines) > _MOST_LINES:
            line(f"  ... and {len(found.lines) - _MOST_LINES} more")
        line()
        self._more()

    def _more(self) -> None:
        own = f"curl -i {self._at.open_api}/users/17"
        self._places(
            ("A request of yours", f"{own}, and copy its X-Trace-ID into the box at {self._at.open_grafana}"),
            ("Other load", self._at.open_locust),
            ("Stop", "docker compose down; with --volumes, the data are wiped, too"),
        )
        self._screen.line()

    def _pinned(self, spike: Spike) -> str:
        shown = Window(spike.start - _BEFORE, max(spike.end + _AFTER, spike.start + _LEAST))
        return f"{self._at.open_grafana}/d/service?from={shown.start * 1000:.0f}&to={shown.end * 1000:.0f}"

    def _places(self, *rows: tuple[str, ...]) -> None:
        self._screen.table([((name, "bold"), *rest) for name, *rest in rows])

    def _at_time(self, now: float, *said: str | tuple[str, str]) -> None:
        self._screen.line((clock(now)[:8], "dim"), "  ", *said)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
