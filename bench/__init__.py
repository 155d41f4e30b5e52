"""MEASURES: the CPU that this project's instrumentation adds to a request, beside what other libraries add."""
