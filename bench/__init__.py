"""Benchmarks: the CPU cost of the instrumentation, compared with other packages, and the cost of the other tools."""
