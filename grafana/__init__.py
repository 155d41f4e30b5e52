"""Source of the Grafana dashboards; `python -m grafana.build` writes dashboards/*.json."""
