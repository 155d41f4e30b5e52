"""Links to Grafana."""

from urllib.parse import quote


def trace_logs_url(grafana: str, trace_id: str, at: float) -> str:
    """Return the address of the dashboard with a request's lines, in the minutes around `at`."""
    return f"{grafana}/d/trace-logs?var-trace_id={quote(trace_id, safe='')}&time={at * 1000:.0f}&time.window=600000"
