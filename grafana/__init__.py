"""The dashboards' source; `python -m grafana.build` writes dashboards/*.json."""
