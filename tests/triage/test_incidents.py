"""The tour explains each incident once, and writes nothing about normal traffic."""

import random
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.triage.conftest import StoreLines
from tests.triage.fake_loki import FakeLoki
from tests.triage.fake_service import T0, FakeService, Line
from tests.triage.incidents import requests
from tests.triage.test_console import HOSTILE
from triage import incidents
from triage.explain import EXCLUDED
from triage.field_counts import count_fields
from triage.incidents import IncidentExplainer
from triage.models import LogLine, Window
from triage.timestamps import parse

# What a request at a time is like: `duration_ms`, `status` and other fields.
Effect = Callable[[float, random.Random, Line], None]


def traffic(*effects: Effect, seconds: int = 240, seed: int = 1, service: str = "api") -> list[Line]:
    """Return 20 requests per second of two replicas, each changed by `effects`."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    replicas = [FakeService(service, f"127.0.0.1:{8000 + number}") for number in range(2)]
    lines = []
    for number in range(seconds * 20):
        at = T0 + number / 20
        replica, route = rng.choice(replicas), rng.choice(["/users", "/users/{user_id}", "/orders"])
        line = replica.finish(
            at, 5 + rng.expovariate(0.1), route=route, user_id=rng.randrange(1, 201), db_ms=3.0, db_calls=1
        )
        for effect in effects:
            effect(at - T0, rng, line)
        if line["duration_ms"] >= 500 or line["status"] >= 500:
            line |= {"level": "warning", "payload": {"keys": ["sku"]}}
        lines.append(line)
    return lines


def slow_for(users: range, start: float, end: float) -> Effect:
    """Make the database slow for some users."""

    def effect(second: float, _: random.Random, line: Line) -> None:
        if start <= second <= end and line["user_id"] in users:
            line |= {"duration_ms": 2000.0, "db_ms": 1990.0}

    return effect


def failing_route(route: str, start: float, end: float) -> Effect:
    """Let a route fail at once."""

    def effect(second: float, _: random.Random, line: Line) -> None:
        if start <= second <= end and line["route"] == route:
            line |= {"duration_ms": 2.0, "status": 503, "outcome": "server_error"}

    return effect


def slow_at_random(share: float, start: float = 0, end: float = 1e9) -> Effect:
    """Make a share of all requests slow."""

    def effect(second: float, rng: random.Random, line: Line) -> None:
        if start <= second <= end and rng.random() < share:
            line["duration_ms"] = 900.0

    return effect


def watch(loki: FakeLoki, until: float = 300, since: float = 0) -> Iterator[tuple[float, Line]]:
    """Check every five seconds, with the lines that Loki has by then; yield new lines with the second of the check."""
    explainer = IncidentExplainer(loki)
    for second in range(int(since), int(until), 5):
        loki.now = T0 + second
        before = len(loki.pushed())
        explainer.check(loki.now)
        yield from ((second, line) for line in loki.pushed()[before:])


def explained(lines: Iterable[Line], second: float = 270) -> list[Line]:
    """Return the lines of one check."""
    loki = FakeLoki(lines)
    IncidentExplainer(loki).check(T0 + second)
    return loki.pushed()


def test_slow_requests_of_some_users() -> None:
    """The line has the time, the counts, the cause, the part of the latency and examples; it comes in time."""
    lines = traffic(slow_for(range(1, 9), 100, 160))
    ((second, line),) = watch(FakeLoki(lines))
    slow = [each for each in lines if each["level"] == "warning"]
    within = [each for each in lines if T0 + 100 <= parse(each["timestamp"]) <= T0 + 160]

    assert second - 160 <= 40
    assert ("api", "user_id") == (line["explained_service"], line["field"])
    users = [int(user) for user in line["values"].split(", ")]
    assert len(users) >= 6
    assert users == sorted(set(users) & set(range(1, 9)))
    assert len(slow) == line["slow"]
    assert f"{sum(each['user_id'] in users for each in slow)} of {len(slow)}" == line["slow_with"]
    assert line["requests"] == pytest.approx(len(within), abs=60)
    assert f"0 of {line['requests'] - line['slow']}" == line["fast_with"]
    assert ("db_ms", 1.0) == (line["part"], line["part_share"])
    assert (T0 + 98) * 1000 - 2000 <= line["from"] <= (T0 + 102) * 1000
    assert (T0 + 158) * 1000 <= line["to"] <= (T0 + 162) * 1000
    assert set(line["trace_ids"]) <= {each["trace_id"] for each in slow}
    assert 3 == len(line["trace_ids"])
    assert ("tour", "info", "incident.explained", "-") == tuple(
        line[name] for name in ("service", "level", "event", "trace_id")
    )
    assert (
        f"{len(slow)} of {line['requests']:,} requests of api were slow or failed. user_id in 1, 2" in line["message"]
    )


def test_failed_requests_of_a_route() -> None:
    """Failures are an incident like slow requests; no part of the latency explains them."""
    (line,) = explained(traffic(failing_route("/orders", 100, 130)))
    assert ("route", "/orders", "-", None) == tuple(line[name] for name in ("field", "values", "part", "part_share"))


def test_two_incidents() -> None:
    """Each has its own cause, also if they are half a minute apart, or of two services at the same time."""
    first, second = slow_for(range(1, 9), 100, 130), failing_route("/users", 160, 180)
    other = traffic(slow_for(range(20, 30), 100, 150), service="payments")
    lines = explained([*traffic(first, second), *other])
    assert ["user_id", "route"] == [line["field"] for line in lines if line["explained_service"] == "api"]
    assert ["user_id"] == [line["field"] for line in lines if line["explained_service"] == "payments"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.05])
def test_quiet_traffic(share: float) -> None:
    """Nothing is written about traffic without slow requests, or with the same share of them all the time."""
    for seed in range(3):
        lines = traffic(slow_at_random(share), seconds=200, seed=seed)
        assert [] == list(watch(FakeLoki(lines), until=230, since=20))


def test_random_slow_requests() -> None:
    """An incident without a cause is one line with the message that nothing explains it."""
    (line,) = explained(traffic(slow_at_random(0.1, 100, 160)))
    assert ("-", "-", "-", "-") == tuple(line[name] for name in ("field", "values", "slow_with", "fast_with"))
    assert "Nothing explains it: no field separates them from the others." in line["message"]


def test_incident_during_slow_requests() -> None:
    """If requests are slow all the time, an incident is only the time in which there are more of them."""
    (line,) = explained(traffic(slow_at_random(0.05), slow_for(range(1, 31), 100, 160)))
    assert ("user_id", "db_ms") == (line["field"], line["part"])
    assert (T0 + 90) * 1000 < line["from"] < line["to"] < (T0 + 170) * 1000


def test_slightly_more_slow_requests() -> None:
    """Less than twice the usual share of slow requests is no incident, even if it is no chance."""
    assert [] == explained(traffic(slow_at_random(0.05), slow_at_random(0.04, 200, 400), seconds=600, seed=2), 450)


def test_few_slow_requests() -> None:
    """A few slow requests at once are an incident only if something explains them."""
    assert [] == explained(traffic(slow_at_random(0.5, 100, 100.6)))
    (line,) = explained(traffic(slow_for(range(7, 8), 100, 200), slow_for(range(8, 9), 100, 200), seed=3))
    assert ("user_id", "7, 8") == (line["field"], line["values"])
    assert line["slow"] < 30


def test_every_request_fails() -> None:
    """If there are no other requests to compare with, nothing explains it."""
    (line,) = explained(traffic(lambda second, _, line: line.update(status=500) if 100 < second < 130 else None))
    assert "-" == line["field"]
    assert line["slow"] == pytest.approx(600, abs=60)


def test_restart_and_outage() -> None:
    """A restarted tour does not repeat a line, and explains what ended while it, or Loki, did not run."""
    loki = FakeLoki(traffic(slow_for(range(1, 9), 100, 130)))
    loki.responds = False
    assert [] == list(watch(loki, 200))
    loki.responds = True
    (line,) = [line for _, line in watch(loki, 300, since=200)]
    assert [] == list(watch(loki, 400, since=205))
    assert ("user_id", 1) == (line["field"], loki.pushes)


def test_slow_loki(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of a slow Loki ends after its time limit, and a later one explains the incident."""
    loki = FakeLoki(traffic(slow_for(range(1, 9), 100, 130)))
    monkeypatch.setattr(incidents, "_TIME_LIMIT", 0.3)
    loki.delay = 0.2
    explainer = IncidentExplainer(loki)
    began = time.monotonic()
    assert () == tuple(explainer.check(T0 + 200))
    assert time.monotonic() - began < 2
    loki.delay = 0
    assert () == tuple(explainer.check(T0 + 205))
    (line,) = explainer.check(T0 + 220)
    assert "user_id" == line.fields["field"]


def test_long_incident() -> None:
    """An incident that lasts is explained in parts of five minutes, the first one while it lasts."""
    found = list(watch(FakeLoki(traffic(slow_for(range(1, 9), 100, 520), seconds=560)), 600))
    assert ["user_id"] * 2 == [line["field"] for _, line in found]
    assert found[0][0] < 430
    assert found[0][1]["to"] == pytest.approx((T0 + 400) * 1000, abs=4000)
    assert found[1][1]["to"] == pytest.approx((T0 + 520) * 1000, abs=4000)


def test_many_requests() -> None:
    """Of many requests, samples of a limited size are compared, in small pages, and the counts are those of all."""
    lines = traffic(slow_for(range(80), 60, 240))
    tenfold = [{**line, "span_id": f"{line['span_id']}{copy}"} for line in lines for copy in range(5)]
    loki = FakeLoki(tenfold)
    explainer = IncidentExplainer(loki)
    (line,) = explainer.check(T0 + 270)
    slow = sum(line["level"] == "warning" for line in tenfold)
    assert line.fields["slow"] == slow > 2_000
    compared = [int(str(line.fields[name]).split(" of ")[1]) for name in ("slow_with", "fast_with")]
    assert compared[0] <= 2_000
    assert 4_000 < compared[1] <= 5_000
    assert "others in a sample" in line.message
    assert loki.largest_page <= 250


def test_hostile_lines() -> None:
    """Values of lines are harmless in LogQL, HTML and a terminal, and only valid trace ids are named."""
    hostile = [*HOSTILE, '"} or {service_name=~".+', "<img src=x onerror=alert(1)>", "${__user.login}", "`", "x" * 9999]
    for text in hostile:

        def effect(second: float, _: random.Random, line: Line, text: str = text) -> None:
            line["tenant"] = "a"
            if 60 < second < 90 and line["user_id"] < 20:
                line |= {"duration_ms": 900.0, "tenant": text, "trace_id": text}

        (line,) = explained(traffic(effect, seconds=120), 120)
        assert line["field"] in {"tenant", "trace_id", "user_id"}
        shown = f"{line['message']}{line['values']}{line['field']}"
        assert shown.isprintable()
        assert not set("<>&\"'`$[]") & set(shown)
        assert len(line["values"]) < 1000
        assert all(len(each) <= 64 for each in line["trace_ids"])


def test_hostile_service_and_forged_lines() -> None:
    """The name of a service cannot change a query, and lines that only contain the event are no requests."""
    loki = FakeLoki(traffic(slow_for(range(1, 9), 100, 130), service='a"} or {x=~".+\\'))
    (line,) = [line for _, line in watch(loki)]
    assert "user_id" == line["field"]
    api = FakeService()
    forged = [
        api.line(T0 + 100 + number, "No user request.finished", level="warning", duration_ms=10**400, event="other")
        for number in range(30)
    ]
    assert [] == explained([*traffic(), *forged])


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_files(store_lines: StoreLines, seed: int) -> None:
    """Counting in memory has the same result as `triage explain` has for files."""
    lines = requests(seed, 60, users=8).lines
    for number, line in enumerate(lines):
        line |= {"note": [None, "ä\u202e", 'q"uo', ["x", 1], {"a": None}, 1.5, True][number % 7]}
    start, end = (parse(lines[place]["timestamp"]) for place in (0, -1))
    expected = store_lines(lines).count_fields("api", Window(start, end), 500, EXCLUDED)
    slow = [LogLine(parse(line["timestamp"]), line) for line in lines if line["duration_ms"] > 500]
    fast = [LogLine(parse(line["timestamp"]), line) for line in lines if line["duration_ms"] <= 500]
    found = count_fields(slow, fast, EXCLUDED)
    assert expected.counts == found.counts
    assert expected.slow_lines == found.slow_lines
    assert {name: pytest.approx(both) for name, both in expected.sums.items()} == found.sums
    for one, other in zip(expected.fields, found.fields, strict=True):
        assert (one.name, one.present, one.distinct > 1) == (other.name, other.present, other.distinct > 1)
        assert sorted(each.counts for each in one.values) == sorted(each.counts for each in other.values)
