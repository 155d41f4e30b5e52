"""The runbooks and their queries."""

import re
from pathlib import Path

RUNBOOKS = {page.stem: page.read_text() for page in (Path(__file__).parents[1] / "docs/runbooks").glob("*.md")}


def queries(alert: str) -> list[tuple[str, str]]:
    """Return the queries in the runbook of an alert, as pairs of language and query."""
    return re.findall(r"```(promql|logql)\n(.*?)\n```", RUNBOOKS[alert], re.DOTALL)
