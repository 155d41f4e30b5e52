"""The fault lab: on purpose, bounded, announced, and the same for every replica."""

import asyncio
import time
from typing import Any

import pytest

from app.database import Database
from app.faults.board import FaultBoard
from app.faults.models import Fault
from app.settings import Settings
from tests.app.lab import LAB, start_fault
from tests.processes import Processes
from tests.services import Service, running
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("no_faults_left")


def start(api: Service, **fault: object) -> dict[str, Any]:
    return start_fault(api, **{"fault": "slow-query", "delay_ms": 600, **fault})


def seconds_for(api: Service, path: str, **headers: str) -> float:
    response = api.client.get(path, headers=headers)
    assert 200 == response.status_code
    return float(api.finished(response.headers["x-trace-id"])["duration_ms"]) / 1000


def test_the_statements_of_some_users_really_take_long(api: Service) -> None:
    """The unlucky user's request is slow in the database, says so, and is the only one."""
    start(api, users=[7])
    response = api.client.get("/users/7")
    trace_id = response.headers["x-trace-id"]
    line = api.finished(trace_id)

    assert line["db_ms"] >= 600
    assert "slow-query" == line["fault_active"]
    (slow,) = [line for line in api.lines(trace_id) if line["message"] == "Slow statement"]
    assert ("warning", "app.database.timers") == (slow["level"], slow["logger"])
    assert seconds_for(api, "/users/8") < 0.5


def test_a_user_is_known_by_path_query_and_body(api: Service) -> None:
    """Whoever the request is about suffers, and is not slowed down twice in one request."""
    start(api, users=[7])
    order = api.client.post("/orders", json={"user_id": 7, "sku": "mug"})

    assert seconds_for(api, "/orders?user_id=7") >= 0.6
    assert 0.6 <= api.finished(order.headers["x-trace-id"])["duration_ms"] / 1000 < 1.2


@pytest.mark.parametrize(
    "nonsense", [{"seed": 2**63}, {"users": [10**30]}, {"share": 0}, {"seconds": 601}, {"fault": "x"}]
)
def test_a_fault_has_bounds(api: Service, nonsense: dict[str, object]) -> None:
    """What no database or line could hold, or would last too long, is refused."""
    fault = {"fault": "slow-query", "seconds": 1, **nonsense}
    assert 422 == api.client.post("/faults", json=fault, headers={"X-Fault-Lab": "tests"}).status_code


@pytest.mark.anyio
async def test_the_watch_survives_whatever_is_in_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a fault would never end where it stopped watching."""
    board = FaultBoard(Database(Settings().async_database_url, 1, 3))
    looks: list[int] = []

    async def stumble() -> None:
        looks.append(1)
        raise ValueError

    monkeypatch.setattr(board, "refresh", stumble)
    monkeypatch.setattr("app.faults.board._PERIOD", 0)
    watch = asyncio.create_task(board.watch())
    while len(looks) < 3:
        assert not watch.done()
        await asyncio.sleep(0)
    watch.cancel()


def test_one_route_suffers(api: Service) -> None:
    """A fault of a route leaves the others alone."""
    start(api, route="/users/{user_id}")

    assert seconds_for(api, "/users") < 0.5
    assert seconds_for(api, "/users/7") >= 0.6


def test_the_share_is_the_same_each_time() -> None:
    """Who suffers goes by seed and request id, not by arrival: half of them, and always the same half."""
    fault = Fault(route=None, users=None, share=0.5, seed=1, until=time.time() + 60)
    first = [fault.hits("/", None, f"run-0-{number}") for number in range(1000)]
    second = [fault.hits("/", None, f"run-0-{number}") for number in range(1000)]

    other = Fault(route=None, users=None, share=0.5, seed=2, until=time.time() + 60)

    assert first == second
    assert 400 < sum(first) < 600
    assert first != [other.hits("/", None, f"run-0-{number}") for number in range(1000)]


def test_start_and_end_are_announced_once(api: Service) -> None:
    """It ends by itself; each of the two lines says what, to whom and until when."""
    fault = start(api, users=[7], seconds=1)
    started = api.event("fault.started", fault_id=fault["id"])
    ended = api.event("fault.ended", fault_id=fault["id"])

    assert ("slow-query", [7]) == (started["fault"], started["fault_users"])
    assert started["fault_until"] == ended["fault_until"]
    assert [] == api.client.get("/faults", headers=LAB).json()
    assert seconds_for(api, "/users/7") < 0.5


def test_a_replica_learns_of_it_within_two_seconds(
    api: Service, database_url: str, payments: Service, processes: Processes
) -> None:
    """A fault is a row that every replica reads each second; only one of them announces its end."""
    settings = {"DATABASE_URL": database_url, "PAYMENTS_URL": payments.url, "FAULTS": "on"}
    with running(processes, "api", settings, f"replica-{database_url.split(':', maxsplit=1)[0]}") as replica:
        fault = start(api, users=[7], seconds=4)
        eventually(lambda: seconds_for(replica, "/users/7") >= 0.6, "the replica to suffer", seconds=4)
        eventually(lambda: seconds_for(replica, "/users/7") < 0.5, "the replica to recover", seconds=10)
        time.sleep(1.5)  # both have looked again

        ends = [
            line
            for service in (api, replica)
            for line in service.lines()
            if line.get("event") == "fault.ended" and line["fault_id"] == fault["id"]
        ]
        assert 1 == len(ends)


def test_a_fault_can_be_seen_and_stopped(api: Service) -> None:
    """In the list, in the metric, and gone from both when it is stopped."""
    fault = start(api, users=[7])
    assert [fault["id"]] == [found["id"] for found in api.client.get("/faults", headers=LAB).json()]
    assert 1 == _active(api)

    assert 204 == api.client.delete("/faults", headers=LAB).status_code
    assert 0 == _active(api)


def _active(api: Service) -> float:
    (active,) = (sample for sample in api.samples() if sample.labels.get("fault") == "slow-query")
    return active.value


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"seconds": 601}, id="too long"),
        pytest.param({"share": 0}, id="nobody"),
        pytest.param({"users": []}, id="no users"),
        pytest.param({"route": "/nothing"}, id="no such route"),
        pytest.param({"route": "/faults"}, id="the lab itself"),
        pytest.param({"fault": "meteor"}, id="no such fault"),
    ],
)
def test_bounds(api: Service, wrong: dict[str, object]) -> None:
    """No fault without bounds, and none that would never hit."""
    response = api.client.post("/faults", json={"fault": "slow-query", **wrong}, headers=LAB)

    assert 422 == response.status_code


def test_no_web_page_can_start_one(api: Service) -> None:
    """The header cannot be sent from another site without asking first, and nobody answers that question."""
    without = api.client.post("/faults", json={"fault": "slow-query"})
    asking = api.client.options(
        "/faults",
        headers={"Origin": "http://evil.example", "Access-Control-Request-Headers": "x-fault-lab"},
    )

    assert (403, 405) == (without.status_code, asking.status_code)
    assert "access-control-allow-origin" not in asking.headers


def test_without_the_switch_there_is_no_lab(
    payments: Service, processes: Processes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """FAULTS is off unless it is turned on, and then the routes do not exist."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('off')}/tested.db", "PAYMENTS_URL": payments.url}
    with running(processes, "api", settings, "api-off") as service:
        responses = [service.client.request(method, "/faults", headers=LAB) for method in ("GET", "POST", "DELETE")]
        assert "/faults" not in service.client.get("/openapi.json").json()["paths"]

    assert [404, 404, 404] == [response.status_code for response in responses]
