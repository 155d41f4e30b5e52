"""The tour without Docker: services, load, a fault, and a report from the latency spike to its log lines."""
