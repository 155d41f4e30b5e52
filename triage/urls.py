"""URLs with a user name and a password, which are sent to their server but never printed or recorded."""

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit


class Credentials(NamedTuple):
    """A user name and a password for HTTP basic authentication."""

    user: str
    password: str


def split_credentials(url: str) -> tuple[str, Credentials | None]:
    """Return a URL without its user name and password, and these, if it has any."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as an IPv6 address without its closing bracket
        return hide_credentials(url), None
    userinfo, found, host = parts.netloc.rpartition("@")
    if not found:
        return url, None
    user, _, password = userinfo.partition(":")
    credentials = Credentials(unquote(user), unquote(password)) if userinfo else None
    return urlunsplit(parts._replace(netloc=host)), credentials


def hide_credentials(url: str) -> str:
    """Return a URL, which may be invalid, with asterisks for what may be a user name and password."""
    return re.sub(r"^(.*//)?.*@", r"\1***@", url, flags=re.DOTALL)
