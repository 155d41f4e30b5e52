"""The Locust command for tests: headless and without incidents."""

import sys


def locust(host: str, users: int, rate: int, *options: str, python: str = sys.executable) -> list[str]:
    """Return the command for this number of users; `rate` is how many start per second."""
    return [
        python, "-m", "locust", "--locustfile", "loadtest/locustfile.py", "--headless", "--host", host,
        "--users", str(users), "--spawn-rate", str(rate), "--incidents", "off", "--skip-log-setup", *options,
    ]  # fmt: skip
