"""Sentry beside the middleware, without a network."""

from tests.integrations.projects import Project, example

TRANSPORT = """
import json
from sentry_sdk.transport import Transport

class Printed(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event is not None:
            (value,) = event["exception"]["values"]
            print(json.dumps({"sentry": value["type"], "tags": event["tags"]}), flush=True)

"""
ROUTES = """
import logging

@app.get("/fails")
async def fails() -> None:
    raise ValueError("out of stock")

@app.get("/logs")
async def logs() -> None:
    try:
        raise KeyError("chair")
    except KeyError:
        logging.getLogger("shop").exception("Order failed")
"""


def test_sentry_events_have_the_trace_id(project: Project) -> None:
    """A request that fails and an exception that is logged make one event each, with the id of the request."""
    program = example("Sentry").replace("before_send=", "transport=Printed, before_send=")
    with project.serve(TRANSPORT, program, ROUTES) as service:
        failed, logged = (service.client.get(path).headers["X-Trace-ID"] for path in ("/fails", "/logs"))
        service.line(event="request.finished", route="/logs")
        service.client.get("/openapi.json")
        events = [line for line in service.lines() if "sentry" in line]
    assert [
        {"sentry": "ValueError", "tags": {"trace_id": failed}},
        {"sentry": "KeyError", "tags": {"trace_id": logged}},
    ] == events
