"""The tour explains incidents in lines that real servers store: once, with the cause, within a minute."""

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

USERS = range(1, 9)


@pytest.fixture(scope="module")
def native() -> Iterator[NativeStack]:
    """Return services, Loki and Alloy under load, with the tour."""
    with NativeStack() as stack:
        stack.start_services(start_postgres(stack.servers))
        stack.start_loki()
        stack.start_alloy()
        stack.start_tour()
        stack.servers.start("load", locust(stack.url("api"), 40, 20))
        yield stack
        stack.servers.kill("load")


def explained(native: NativeStack) -> Sequence[stores.StoredLine]:
    return [
        line
        for line in stores.lines(native.url("loki"), '{service_name="tour"}', minutes=30)
        if line.fields["event"] == EVENT
    ]


def test_incident_is_explained(native: NativeStack) -> None:
    """A slow database for some users is explained within 60 s of its end; a restarted tour does not repeat that."""
    loki = native.url("loki")
    wait_for(lambda: len(stores.lines(loki, '{service_name="api"} |= "request.finished"')) > 300, "requests")
    assert [] == explained(native)
    began = time.time()
    fault = {"fault": "slow-query", "users": list(USERS), "seconds": 20, "delay_ms": 1500}
    httpx2.post(f"{native.url('api')}/faults", json=fault, headers=FAULT_HEADERS).raise_for_status()
    time.sleep(20)
    (line,) = wait_for(lambda: explained(native), "the explanation", seconds=60)
    print(line, time.time()-began)
    fields = line.fields
    assert ("api", "user_id", "db_ms") == (fields["explained_service"], fields["field"], fields["part"])
    assert {int(user) for user in fields["values"].split(", ")} <= set(USERS)
    assert began * 1000 - 1000 < fields["from"] < fields["to"] < (began + 23) * 1000
    assert 3 == len(fields["trace_ids"])
    for trace_id in fields["trace_ids"]:
        (finished,) = [
            each.fields
            for each in stores.lines_of(loki, trace_id)
            if each.fields.get("event") == "request.finished" and each.fields["service"] == "api"
        ]
        assert finished["user_id"] in USERS
        assert finished["duration_ms"] >= 1500

    native.servers.stop("tour")
    native.start_tour()
    time.sleep(15)
    assert [line] == explained(native)
