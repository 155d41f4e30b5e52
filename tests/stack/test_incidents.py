"""The tour explains an incident of real services: once, with the cause, within a minute of its end."""

import time
from collections.abc import Iterator, Sequence

import httpx2
import pytest

from tests.app.faults import FAULT_HEADERS
from tests.load import locust
from tests.postgres import start_postgres
from tests.stack import stores
from tests.stack.native import NativeStack
from tests.waiting import wait_for
from triage.incidents import EVENT

USERS = range(1, 13)
SECONDS = 30


@pytest.fixture(scope="module")
def native() -> Iterator[NativeStack]:
    """Return services under load, Loki, Alloy and the tour; it does not need the other servers for this."""
    with NativeStack() as stack:
        stack.start_services(start_postgres(stack.servers))
        stack.start_loki()
        stack.start_alloy()
        stack.start_tour()
        stack.servers.start("load", locust(stack.url("api"), 20, 20))
        yield stack
        stack.servers.kill("load")


def explained(native: NativeStack) -> Sequence[stores.StoredLine]:
    lines = stores.lines(native.url("loki"), f'{{service_name="tour", level="info"}} |= "{EVENT}"')
    return [line for line in lines if line.fields["explained_service"] == "api"]


def test_incident_is_explained_once(native: NativeStack) -> None:
    """A slow database for some users is explained within 60 s of its end; a restarted tour does not repeat that."""
    loki = native.url("loki")
    wait_for(lambda: len(stores.lines(loki, '{service_name="api"} |= "request.finished"')) > 400, "requests")
    began = time.time()
    fault = {"fault": "slow-query", "users": list(USERS), "seconds": SECONDS, "delay_ms": 1500}
    httpx2.post(f"{native.url('api')}/faults", json=fault, headers=FAULT_HEADERS).raise_for_status()
    time.sleep(SECONDS)

    def find() -> Sequence[stores.StoredLine]:
        return [line for line in explained(native) if line.fields["to"] > began * 1000]

    (line,) = wait_for(find, "the explanation", seconds=60, pause=1)
    fields = line.fields
    assert ("user_id", "db_ms") == (fields["field"], fields["part"]), fields["message"]
    assert "..." in fields["values"] or {int(user) for user in fields["values"].split(", ")} <= set(USERS)
    assert began - 2 < fields["from"] / 1000 < fields["to"] / 1000 < began + SECONDS + 5
    assert {"service_name": "tour", "level": "info", "trace_id": "-", "instance": "-"} == line.labels
    assert 3 == len(fields["trace_ids"])
    for trace_id in fields["trace_ids"]:
        finished = [each.fields for each in stores.lines_of(loki, trace_id) if "duration_ms" in each.fields]
        (of_api,) = [each for each in finished if each["service"] == "api"]
        assert of_api["user_id"] in USERS
        assert of_api["duration_ms"] >= 1500

    native.servers.stop("tour")
    native.start_tour()
    time.sleep(15)
    assert [line] == find()
    assert 1 == native.servers.output("tour").read_text().count(f"Why? {fields['message']}")
