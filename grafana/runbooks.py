"""The runbooks in docs/runbooks/ as panels, so that they are next to the alerts and need no internet."""

import re
from pathlib import Path

from grafana_foundation_sdk.builders import text
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.text import TextMode

from grafana.common import LOKI, PROMETHEUS, variable
from grafana.explore import explore

FOLDER = Path(__file__).parents[1] / "docs/runbooks"

#: Ids of the panels, for the links of alerts.
PANELS = {"AvailabilityBudgetBurn": 101, "LatencyBudgetBurn": 102, "ServiceDown": 103}

_SOURCES = {"promql": PROMETHEUS, "logql": LOKI}


def runbook(alert: str) -> text.Panel:
    """Return the runbook of an alert as a panel for the selected service, with links that run its queries."""
    page = (FOLDER / f"{alert}.md").read_text().partition("\n")[2]
    page = page.replace("http://localhost:3000/", "/").replace("var-service=api", f"var-service={variable('service')}")
    page = re.sub(
        r"```(promql|logql)\n(.*?)\n```", lambda block: _with_link(_SOURCES[block[1]], block[2]), page, flags=re.DOTALL
    )
    panel = text.Panel().mode(TextMode.MARKDOWN).content(page)
    return panel.id(PANELS[alert]).title(alert).span(12).height(46)


def _with_link(source: DataSourceRef, query: str) -> str:
    """Return a query as a code block, and a link that runs it in the time range of the dashboard."""
    of_service = query.replace('"api"', f'"{variable("service")}"')
    return f"```\n{of_service}\n```\n[Run it]({explore(source, of_service)})"
