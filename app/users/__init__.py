"""Users: router, service, repository."""
