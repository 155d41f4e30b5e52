"""Tests of the dashboards, without a Grafana."""
