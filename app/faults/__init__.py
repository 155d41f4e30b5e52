"""The fault lab: incidents on purpose, bounded and announced; users and orders do not know of it."""
