"""The walk in a browser, as a visitor."""
