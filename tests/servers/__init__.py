"""The example service behind every common ASGI server, each as a real process."""
