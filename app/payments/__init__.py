"""The payments service: charges orders. Another process, with the same trace ids in its lines."""
