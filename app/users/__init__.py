"""Users: router -> service -> repository."""
