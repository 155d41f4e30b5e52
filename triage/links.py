"""Addresses in Grafana that a person opens."""

from urllib.parse import quote


def trace_logs(grafana: str, trace_id: str, at: float) -> str:
    """Return where the lines of one request are, in the minutes around it; whatever an id is, it stays one."""
    return f"{grafana}/d/trace-logs?var-trace_id={quote(trace_id, safe='')}&time={at * 1000:.0f}&time.window=600000"
