"""docs/runbooks/ as panels: the same page in the repository, and beside the alert, where it works without internet."""

import json
import re
from pathlib import Path
from urllib.parse import quote

from grafana_foundation_sdk.builders import text
from grafana_foundation_sdk.models.text import TextMode

from grafana.parts import variable

FOLDER = Path(__file__).parents[1] / "docs/runbooks"

#: The panels' ids, which the alerts name.
PANELS = {"AvailabilityBudgetBurn": 101, "LatencyBudgetBurn": 102, "ServiceDown": 103}

_SOURCES = {"promql": "prometheus", "logql": "loki"}


def runbook(alert: str) -> text.Panel:
    """Return the runbook of an alert as a panel, about the service that was chosen, its queries ready to run."""
    page = (FOLDER / f"{alert}.md").read_text().partition("\n")[2]
    page = page.replace("http://localhost:3000/", "/").replace("var-service=api", f"var-service={variable('service')}")
    page = re.sub(r"```(promql|logql)\n(.*?)\n```", lambda block: _ready(block[1], block[2]), page, flags=re.DOTALL)
    panel = text.Panel().mode(TextMode.MARKDOWN).content(page)
    return panel.id(PANELS[alert]).title(alert).span(12).height(46)


def _ready(language: str, query: str) -> str:
    """Return a query as people read it, and a link that runs it in the time range of the dashboard."""
    source = _SOURCES[language]
    of_service = query.replace('"api"', f'"{variable("service")}"')
    question = {"refId": "A", "datasource": {"uid": source, "type": source}, "expr": query}
    pane = {"datasource": source, "queries": [question], "range": {"from": "FROM", "to": "TO"}}
    panes = quote(json.dumps({"a": pane}, separators=(",", ":")))
    # What Grafana fills in is written after all else was quoted.
    for name, filled in (("%22api%5C%22", f"%22{variable('service')}%5C%22"), ("FROM", "${__from}"), ("TO", "${__to}")):
        panes = panes.replace(name, filled)
    return f"```\n{of_service}\n```\n[Run it](/explore?schemaVersion=1&panes={panes})"
