"""The runbooks, as tests read them."""

import re
from pathlib import Path

RUNBOOKS = {page.stem: page.read_text() for page in (Path(__file__).parents[1] / "docs/runbooks").glob("*.md")}


def queries(alert: str) -> list[tuple[str, str]]:
    """Return the queries of an alert's runbook, each with its language."""
    return re.findall(r"```(promql|logql)\n(.*?)\n```", RUNBOOKS[alert], re.DOTALL)
