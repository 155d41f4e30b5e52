"""Whom the load is about."""

#: The users that the service has from the start.
KNOWN_USERS = range(1, 201)
