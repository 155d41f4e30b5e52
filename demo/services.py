"""The services and the load as children of the demo, on ports that nobody else has."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

import httpx2

from demo.children import PROJECT, Child, Children, DemoError
from demo.plan import Plan

#: How the service is started; the bench puts one in its place that is slow by chance.
API = ("-m", "app", "api")

_TRIES = 3
_READY = 30  # seconds
# Each slow statement keeps its connection. With the service's 10, everybody would soon wait for one: another story.
_CONNECTIONS = "40"
# What somebody's shell may have set for services of their own.
_DEFAULTS = {"WEB_CONCURRENCY": "1"} | dict.fromkeys(
    ("INSTANCE", "MAX_HEADER_BYTES", "MAX_BODY_BYTES", "DATABASE_TIMEOUT", "PAYMENTS_TIMEOUT"), ""
)


class Service(NamedTuple):
    """A service that is up, and a client for it."""

    child: Child
    http: httpx2.Client


def start_payments(children: Children, plan: Plan) -> Service:
    """Start payments, and wait until it is ready."""
    return _start(children, plan, "payments", ("-m", "app", "payments"), {})


def start_api(children: Children, plan: Plan, payments: Service, program: Sequence[str] = API) -> Service:
    """Start the service, with the fault lab, and wait until it is ready."""
    settings = {
        "DATABASE_URL": f"sqlite:///{plan.folder.resolve()}/demo.db",
        "DATABASE_POOL_SIZE": _CONNECTIONS,
        "PAYMENTS_URL": str(payments.http.base_url),
        "FAULTS": "on",
    }
    return _start(children, plan, "api", program, settings)


def start_load(children: Children, plan: Plan, api: Service) -> Child:
    """Start Locust, whose users ask until the time is up."""
    for name in [name for name in os.environ if name.startswith("LOCUST_")]:
        del os.environ[name]  # settings of somebody's own load
    arguments = [
        "-m", "locust", "--locustfile", str(PROJECT / "loadtest" / "locustfile.py"),
        "--host", str(api.http.base_url), "--headless",
        "--users", str(plan.users), "--spawn-rate", str(plan.users), "--run-time", f"{plan.duration}s",
        # Longer than the slowest request, so that none is cut off when the run ends.
        "--stop-timeout", "15",
        "--incidents", "off", "--record", str(plan.folder.resolve() / "requests.jsonl"), "--seed", str(plan.seed),
        "--skip-log-setup", "--exit-code-on-error", "0",
    ]  # fmt: skip
    load = children.start("loadtest", arguments, plan.folder, {"INSTANCE": "-"})
    _until_it_says(load, "run.started")
    return load


def start_fault(api: Service, plan: Plan) -> None:
    """Make trouble for the unlucky users; it ends by itself."""
    fault = {"fault": plan.fault, "users": plan.unlucky, "seconds": plan.lasts, "seed": plan.seed}
    try:
        api.http.post("/faults", json=fault, headers={"X-Fault-Lab": "demo"}).raise_for_status()
    except httpx2.HTTPError as exc:
        msg = f"The fault cannot be started ({type(exc).__name__}); {api.child.last_words()}"
        raise DemoError(msg) from exc


def _start(children: Children, plan: Plan, name: str, program: Sequence[str], settings: Mapping[str, str]) -> Service:
    common = {**_DEFAULTS, "HOST": "127.0.0.1", "LOG_LEVEL": "debug", **settings}
    for _ in range(_TRIES):
        port = _free_port()
        child = children.start(name, program, plan.folder, {**common, "PORT": str(port)})
        try:
            # Its own line first: at that port, another may be ready.
            _until_it_says(child, "service.started")
        except DemoError:
            if child.alive or "Cannot listen" not in child.last_words():
                raise
            children.forget(child)  # somebody took the port meanwhile
            continue
        http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False)
        _until_ready(child, http)
        return Service(child, http)
    msg = f"{name} found no free port in {_TRIES} tries"
    raise DemoError(msg)


def _until_it_says(child: Child, event: str) -> None:
    deadline = time.monotonic() + _READY
    while not child.said(event):
        child.check()
        _give_up(child, deadline)


def _until_ready(child: Child, http: httpx2.Client) -> None:
    deadline = time.monotonic() + _READY
    while True:
        child.check()
        try:
            if http.get("/readyz").status_code == HTTPStatus.OK:
                return
        except httpx2.HTTPError:
            pass
        _give_up(child, deadline)


def _give_up(child: Child, deadline: float) -> None:
    if time.monotonic() > deadline:
        msg = f"{child.name} is not there after {_READY} s; {child.last_words()}"
        raise DemoError(msg)
    time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
