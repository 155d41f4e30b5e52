"""The walk with no Docker: the services, a load, an incident in the middle, and the story of it."""
