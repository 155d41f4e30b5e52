"""READS BACK: what a person asks after a spike."""
