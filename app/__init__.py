"""The instrumented services: users and orders, and the payments service that they call."""
