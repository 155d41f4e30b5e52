"""Links to Grafana's Explore that contain a query."""

import json
from urllib.parse import quote

from grafana_foundation_sdk.models.common import DataSourceRef

from grafana.common import variable

#: Variables, which Grafana replaces in a link after everything else was URL-encoded.
_VARIABLES = [
    *(f"${{{name}}}" for name in ("prometheus", "loki", "__from", "__to")),
    *(variable(name) for name in ("service", "id")),
]


def explore(source: DataSourceRef, expr: str) -> str:
    """Return a link that runs a query in the time range of the dashboard."""
    query = {"refId": "A", "datasource": {"uid": source.uid, "type": source.type_val}, "expr": expr}
    pane = {"datasource": source.uid, "queries": [query], "range": {"from": "${__from}", "to": "${__to}"}}
    url = f"/explore?schemaVersion=1&panes={quote(json.dumps({'a': pane}, separators=(',', ':')))}"
    for each in _VARIABLES:
        url = url.replace(quote(each), each)
    return url
