"""The fault lab of the service under load, asked over HTTP."""

import json
import urllib.error
import urllib.request
from http import HTTPStatus


def start_fault(host: str, fault: dict[str, object]) -> str | None:
    """Ask the service at `host` for a fault; return why there is none, or `None` if there is one."""
    request = urllib.request.Request(  # noqa: S310 - the host that the run loads
        f"{host.rstrip('/')}/faults",
        data=json.dumps(fault).encode(),
        headers={"Content-Type": "application/json", "X-Fault-Lab": "loadtest"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - the same
            return None
    except urllib.error.HTTPError as exc:
        off = exc.code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
        return "the service has no fault lab, or it runs with FAULTS=off" if off else f"the service answered {exc.code}"
    except OSError as exc:
        return f"the service does not answer ({type(exc).__name__})"
