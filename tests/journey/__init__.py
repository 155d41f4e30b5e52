"""Browser tests of the dashboards."""
