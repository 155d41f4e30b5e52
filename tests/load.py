"""Load, as tests make it: Locust without its page, and without incidents of its own."""

import sys


def locust(host: str, users: int, rate: int, *options: str, python: str = sys.executable) -> list[str]:
    """Return the command for so many users, of whom `rate` start each second."""
    return [
        python, "-m", "locust", "--locustfile", "loadtest/locustfile.py", "--headless", "--host", host,
        "--users", str(users), "--spawn-rate", str(rate), "--incidents", "off", "--skip-log-setup", *options,
    ]  # fmt: skip
