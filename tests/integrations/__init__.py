"""Tests of docs/integrations.md."""
