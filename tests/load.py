"""Locust commands for tests."""

import sys


def locust(host: str, users: int, rate: int, *options: str, python: str = sys.executable) -> list[str]:
    """Return the command without web UI and incidents for this number of users; `rate` is how many start per second."""
    return [
        python, "-m", "locust", "--locustfile", "loadtest/locustfile.py", "--headless", "--host", host,
        "--users", str(users), "--spawn-rate", str(rate), "--incidents", "off", "--skip-log-setup", *options,
    ]  # fmt: skip


def locust_web_ui(
    port: int, *options: str, locustfile: str = "loadtest/locustfile.py", host: str = "127.0.0.1"
) -> list[str]:
    """Return the command with the web UI at `host` and `port`."""
    return [
        sys.executable, "-m", "locust", "--locustfile", locustfile, "--web-host", host,
        "--web-port", str(port), *options,
    ]  # fmt: skip
