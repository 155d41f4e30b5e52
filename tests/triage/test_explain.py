"""What separates slow from fast is named; what does not is not."""

from math import comb
from typing import Any

import pytest

from tests.triage.emitting import T0, Emitting
from tests.triage.incidents import Incident, requests, run
from tests.triage.memory import MemoryStore
from triage.chance import binomial_tail, hypergeometric_tail
from triage.explain import Explanation, explain
from triage.model import Window
from triage.render_explain import decoded

SEEDS = range(50)


def explanation(incident: Incident, **options: Any) -> Explanation:
    store = MemoryStore(incident.lines)
    return explain(store, None, window=Window(incident.start, incident.end), **options)


@pytest.mark.parametrize(("slow", "number"), [(5, 30), (15, 1200), (40, 1200), (120, 1200)])
def test_chance_is_no_cause(slow: int, number: int) -> None:
    """Slow requests at random have no cause, in 50 of 50 windows."""
    found = {seed: explanation(requests(seed, slow, number=number)) for seed in SEEDS}
    named = {seed: each.causes for seed, each in found.items() if each.causes}
    assert {} == named


@pytest.mark.parametrize(("hits", "tries", "share"), [(3, 10, 0.1), (1, 1, 0.03), (0, 5, 0.2), (40, 100, 0.3)])
def test_chance_of_one_value(hits: int, tries: int, share: float) -> None:
    """It is the sum of the binomial distribution, from the hits on."""
    terms = [comb(tries, each) * share**each * (1 - share) ** (tries - each) for each in range(hits, tries + 1)]
    assert sum(terms) == pytest.approx(binomial_tail(hits, tries, share))


@pytest.mark.parametrize(("hits", "drawn", "marked", "total"), [(3, 10, 8, 40), (10, 10, 12, 30), (9, 50, 60, 500)])
def test_chance_of_a_field(hits: int, drawn: int, marked: int, total: int) -> None:
    """It is the sum of the hypergeometric distribution, from the hits on."""
    ways = [comb(marked, each) * comb(total - marked, drawn - each) for each in range(hits, min(drawn, marked) + 1)]
    assert sum(ways) / comb(total, drawn) == pytest.approx(hypergeometric_tail(hits, drawn, marked, total))


def test_very_few() -> None:
    """Of 15 slow requests, nearly always, and never anything else."""
    firsts = [[cause.field for cause in explanation(requests(seed, 15, users=8, number=700)).causes] for seed in SEEDS]
    assert {"user_id"} == {field for fields in firsts for field in fields}
    assert len([fields for fields in firsts if fields]) >= 0.9 * len(firsts)


@pytest.mark.parametrize("slow", [30, 60, 120])
def test_unlucky_users(slow: int) -> None:
    """If 8 of 200 users are slow, `user_id` comes first, with those users, in 50 of 50 windows."""
    for seed in SEEDS:
        incident = requests(seed, slow, users=8, number=max(700, slow * 25))
        found = explanation(incident)
        assert found.causes, (seed, found.slow)
        assert found.causes[0].field == "user_id", seed
        named = {decoded(value) for value in found.causes[0].values}
        assert named <= incident.users, seed
        suffered = {line["user_id"] for line in incident.lines if line["duration_ms"] > 500}
        assert len(named) >= (0.7 if slow > 30 else 0.4) * len(suffered), seed


@pytest.mark.parametrize("seed", range(10))
def test_whole_walk_without_samples(seed: int) -> None:
    """Without a window, it is found; with a window that is too wide by far, the users are found all the same."""
    incident = run(seed)
    store = MemoryStore(incident.lines)
    for found in (explain(store, None), explain(store, store), explain(store, None, window=Window(T0, T0 + 200))):
        assert found.causes[0].field == "user_id"
        assert {decoded(value) for value in found.causes[0].values} <= incident.users
        assert found.causes[0].slow >= 0.8 * found.slow


def made(slow: dict[str, object], fast: dict[str, object], share: float = 0.5, number: int = 400) -> Incident:
    """Return requests of which each tenth is slow; all slow and `share` of the fast ones have other fields."""
    api = Emitting()
    for each in range(number):
        is_slow = each % 10 == 0
        fields = slow if is_slow or each % 100 < 100 * share else fast
        line = api.finish(T0 + each, 900.0 if is_slow else 9.0)
        line |= fields | ({"db_ms": 700.0, "db_calls": 1} if is_slow else {})
    return Incident(api.lines, T0, T0 + number, frozenset())


def test_fields_nobody_knows_in_advance() -> None:
    """An annotation separates as any field does, whatever its values are, or that it is not there."""
    for value in ("blue", ["a", "b"], None, True, {"a": 1}, 7):
        (cause,) = explanation(made({"colour": value}, {"colour": "red"}, 0.2)).causes
        assert ("colour", [value]) == (cause.field, [decoded(each) for each in cause.values])
        assert 0.75 < cause.strength < 0.95
    (cause,) = explanation(made({}, {"cached": True}, 0.2)).causes
    assert [None] == [value.json for value in cause.values]


def test_half_of_all_requests() -> None:
    """A route that half of the requests have, and all slow ones, is named: their share is only doubled."""
    (cause,) = explanation(made({"shard": "a"}, {"shard": "b"}, 0.5)).causes
    assert cause.field == "shard"


def test_what_the_lab_did_is_not_looked_at() -> None:
    """Fields that name the fault are no explanation."""
    found = explanation(made({"fault_active": "slow-query", "fault": 1}, {}, 0.0))
    assert () == found.causes
    assert not [name for name in found.looked_at if name.startswith("fault")]


def test_effects_are_told_apart() -> None:
    """What follows from being slow, such as the status, is no cause."""
    found = explanation(made({"status": 503, "outcome": "server_error", "level": "error"}, {}, 0.0))
    assert () == found.causes
    assert {"status", "outcome", "level", "db_calls"} == {effect.field for effect in found.effects}


def test_where_the_time_went() -> None:
    """The difference of the means is shared out; a timer that nobody knows in advance has its part."""
    api = Emitting()
    for each in range(100):
        slow = each % 4 == 0
        line = api.finish(T0 + each, 1010.0 if slow else 10.0, db_ms=601.0 if slow else 1.0, db_calls=1)
        line |= {"cache_ms": 300.0, "cache_calls": 2, "stall_before_ms": 50} if slow else {}
    found = explanation(Incident(api.lines, T0, T0 + 100, frozenset()))
    assert {"db_ms": 0.6, "cache_ms": 0.3, "rest": 0.1} == {part.name: round(part.share, 6) for part in found.parts}


def test_nothing_to_explain() -> None:
    """No slow request, only slow ones, and no spike are told, and are no cause."""
    quiet = run(1, fault=False, background=0)
    assert explanation(quiet).slow == 0
    assert () == explanation(quiet, slow_ms=0.001).causes
    store = MemoryStore(quiet.lines)
    assert explain(store, store).window is None
    assert explain(store, None).window is None


def test_examples_are_of_the_cause() -> None:
    """The three examples are slow requests that have the first cause's values, the slowest first."""
    incident = requests(1, 30, users=8)
    found = explanation(incident)
    assert [line.fields["user_id"] in incident.users for line in found.examples] == [True] * 3
    durations = [float(str(line.fields["duration_ms"])) for line in found.examples]
    assert durations == sorted(durations, reverse=True)
