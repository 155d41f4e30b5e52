"""TELLS: the walk on any machine with Python: the services, a load, an incident in the middle, and the story of it."""
