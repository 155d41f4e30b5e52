"""Command-line tools that answer questions about a latency spike from logs and metrics."""
