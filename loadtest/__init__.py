"""Load for the demo service: user classes, incidents, and measured runs."""

#: The ids of the users that the service creates when it starts.
KNOWN_USERS = range(1, 201)
