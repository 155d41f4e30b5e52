"""Orders: router, service, repository, and the client of payments."""
