"""Settings of gunicorn: the master process logs in the same format as the service."""

from app.observability import logging_config

logconfig_dict = logging_config("shop")
