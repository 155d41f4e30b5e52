"""The payments service, which charges orders. Its log lines have the trace ids of the main service."""
