"""`triage explain` finds the causes of slow requests, and no cause if requests are slow by chance."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.triage.conftest import StoreLines
from tests.triage.fake_service import T0, FakeService
from tests.triage.incidents import Incident, requests, run
from triage.explain import Explanation, decode, explain
from triage.models import Window
from triage.significance import binomial_tail, hypergeometric_tail

SEEDS = range(4)

Explain = Callable[..., Explanation]


@pytest.fixture
def explained(store_lines: StoreLines) -> Explain:
    """Return a function that explains an incident in its window."""

    def run_explain(incident: Incident, **options: Any) -> Explanation:
        store = store_lines(incident.lines)
        return explain(store, None, window=Window(incident.start, incident.end), **options)

    return run_explain


@pytest.mark.parametrize(("slow", "number"), [(5, 30), (15, 1200), (40, 1200), (120, 1200)])
def test_random_slow_requests_have_no_cause(explained: Explain, slow: int, number: int) -> None:
    """If requests are slow at random, no field is a cause."""
    for seed in SEEDS:
        assert () == explained(requests(seed, slow, number=number)).causes, seed


def test_exact_probabilities() -> None:
    """The two tails that decide what is chance agree with results that can be computed by hand."""
    assert pytest.approx(0.25) == binomial_tail(2, 2, 0.5)
    assert pytest.approx(0.028) == binomial_tail(2, 3, 0.1)
    assert pytest.approx(1 / 6) == hypergeometric_tail(2, 2, 2, 4)
    assert pytest.approx(1 / 2) == hypergeometric_tail(2, 3, 3, 6)


@pytest.mark.parametrize(("slow", "number", "least"), [(15, 700, 3), (30, 750, 6), (120, 3000, 8)])
def test_affected_users_are_the_cause(explained: Explain, slow: int, number: int, least: int) -> None:
    """If 8 of 200 users are slow, `user_id` is the first cause, with affected users only; more requests show more."""
    for seed in SEEDS:
        incident = requests(seed, slow, users=8, number=number)
        cause = explained(incident).causes[0]
        assert "user_id" == cause.field, seed
        users = {decode(value) for value in cause.values}
        assert users <= incident.users, seed
        assert len(users) >= least, seed


@pytest.mark.parametrize("seed", range(2))
def test_the_window_is_optional(store_lines: StoreLines, seed: int) -> None:
    """Without a window, the spike is found in lines or samples; a window that is far too wide has the same cause."""
    incident = run(seed)
    store = store_lines(incident.lines)
    for found in (explain(store, None), explain(store, store), explain(store, None, window=Window(T0, T0 + 200))):
        assert found.causes[0].field == "user_id"
        assert {decode(value) for value in found.causes[0].values} <= incident.users
        assert found.causes[0].slow >= 0.8 * found.slow


def every_tenth_slow(
    slow: dict[str, object], fast: dict[str, object], share: float = 0.5, number: int = 400
) -> Incident:
    """Return requests, every tenth of them slow; the fields `slow` are in all slow ones and a `share` of the fast."""
    api = FakeService()
    for each in range(number):
        is_slow = each % 10 == 0
        fields = slow if is_slow or each % 100 < 100 * share else fast
        line = api.finish(T0 + each, 900.0 if is_slow else 9.0)
        line |= fields | ({"db_ms": 700.0, "db_calls": 1} if is_slow else {})
    return Incident(api.lines, T0, T0 + number, frozenset())


def test_any_field_can_be_a_cause(explained: Explain) -> None:
    """Fields with values of any type are compared, and also the absence of a field."""
    for value in ("blue", ["a", "b"], None, True, {"a": 1}, 7):
        (cause,) = explained(every_tenth_slow({"colour": value}, {"colour": "red"}, 0.2)).causes
        assert ("colour", [value]) == (cause.field, [decode(each) for each in cause.values])
        assert 0.75 < cause.strength < 0.95
    (cause,) = explained(every_tenth_slow({}, {"cached": True}, 0.2)).causes
    assert [None] == [value.json for value in cause.values]


def test_a_value_of_half_of_all_requests(explained: Explain) -> None:
    """A value of all slow requests is found, even if half of the fast ones have it."""
    (cause,) = explained(every_tenth_slow({"shard": "a"}, {"shard": "b"}, 0.5)).causes
    assert cause.field == "shard"


def test_fault_fields_are_ignored(explained: Explain) -> None:
    """Fields that name an injected fault are not compared."""
    found = explained(every_tenth_slow({"fault_active": "slow-query", "fault": 1}, {}, 0.0))
    assert () == found.causes
    assert not [name for name in found.looked_at if name.startswith("fault")]


def test_payload_is_ignored(explained: Explain) -> None:
    """The payload, which only slow and failed requests have, is no cause."""
    found = explained(every_tenth_slow({"payload": {"keys": ["sku"]}}, {}))
    assert () == found.causes
    assert "payload" not in found.looked_at


def test_effects_are_not_causes(explained: Explain) -> None:
    """Consequences of a slow request, such as its status, are separate."""
    found = explained(every_tenth_slow({"status": 503, "outcome": "server_error", "level": "error"}, {}, 0.0))
    assert () == found.causes
    assert {"status", "outcome", "level", "db_calls"} == {effect.field for effect in found.effects}


def test_parts_of_the_latency(explained: Explain) -> None:
    """The difference of the mean durations is divided among all timers."""
    api = FakeService()
    for each in range(100):
        slow = each % 4 == 0
        line = api.finish(T0 + each, 1010.0 if slow else 10.0, db_ms=601.0 if slow else 1.0, db_calls=1)
        line |= {"cache_ms": 300.0, "cache_calls": 2, "stall_before_ms": 50} if slow else {}
    found = explained(Incident(api.lines, T0, T0 + 100, frozenset()))
    assert {"db_ms": 0.6, "cache_ms": 0.3, "rest": 0.1} == {part.name: round(part.share, 6) for part in found.parts}


def test_no_slow_requests_no_fast_ones_or_no_spike(explained: Explain, store_lines: StoreLines) -> None:
    """Without slow requests, without fast ones, and without a spike there is no cause."""
    quiet = run(1, fault=False, background=0)
    assert explained(quiet).slow == 0
    assert () == explained(quiet, slow_ms=0.001).causes
    store = store_lines(quiet.lines)
    assert explain(store, store).window is None
    assert explain(store, None).window is None


def test_examples_have_the_cause(explained: Explain) -> None:
    """The three examples are slow requests with the values of the first cause, the slowest first."""
    incident = requests(1, 30, users=8)
    found = explained(incident)
    assert [line.fields["user_id"] in incident.users for line in found.examples] == [True] * 3
    durations = [float(str(line.fields["duration_ms"])) for line in found.examples]
    assert durations == sorted(durations, reverse=True)
