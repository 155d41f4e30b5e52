"""The instrumented service: users and orders, and the payments that they call."""
