"""Orders: router -> service -> repository, and a call to payments."""
