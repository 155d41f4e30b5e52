"""Tests of triage, and of the verdict on load runs."""
