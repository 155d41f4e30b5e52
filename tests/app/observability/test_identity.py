"""Contract 1, in: who a request is."""

import random
import re
import time

import pytest

from app.observability import TraceContext, extract, new_span_id, new_trace_id

HEX = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{HEX}-b7ad6b7169203331-01"


def identity_of(*headers: tuple[str, str]) -> tuple[TraceContext, list[str]]:
    rejected: list[str] = []
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return extract(raw, on_rejected=rejected.append), rejected


def test_traceparent_gives_the_trace_id_and_request_id_is_kept_beside_it() -> None:
    """A valid traceparent wins; a valid X-Request-ID is the request id."""
    identity, rejected = identity_of(("traceparent", TRACEPARENT), ("X-Request-ID", "run-0-1"))

    assert (HEX, "run-0-1", []) == (identity.trace_id, identity.request_id, rejected)


def test_request_id_alone_is_the_trace_id() -> None:
    """Who sends an id of their own finds their lines by it."""
    identity, _ = identity_of(("X-Request-ID", "my.id_1-a"))

    assert ("my.id_1-a", "my.id_1-a") == (identity.trace_id, identity.request_id)


def test_new_ids_tell_when_to_look() -> None:
    """Without headers the trace id is a UUIDv7, whose first 48 bits are the milliseconds since 1970."""
    before = time.time_ns() // 1_000_000
    identity, rejected = identity_of()
    after = time.time_ns() // 1_000_000

    assert re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", identity.trace_id)
    assert before <= int(identity.trace_id[:12], 16) <= after
    assert (None, []) == (identity.request_id, rejected)


def test_every_request_is_a_span_of_its_own() -> None:
    """The same trace id twice, as in a retry, still gives two spans; ids do not repeat."""
    spans = {identity_of(("traceparent", TRACEPARENT))[0].span_id for _ in range(1000)}

    assert len(spans) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{16}", span) and int(span, 16) for span in spans)
    assert len({new_trace_id() for _ in range(1000)}) == 1000


def test_ids_owe_nothing_to_an_applications_seed() -> None:
    """Two replicas that both call `random.seed(1)` share no ids."""
    random.seed(1)
    once = (new_trace_id()[16:], new_span_id())
    random.seed(1)
    again = (new_trace_id()[16:], new_span_id())

    assert set(once).isdisjoint(again)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("-", id="the id outside requests"),
        pytest.param("a" * 65, id="too long"),
        pytest.param("a b", id="space"),
        pytest.param("a\n{}", id="newline"),
        pytest.param("\u00e9", id="not ASCII"),
        pytest.param("`} | drop", id="LogQL"),
    ],
)
def test_bad_request_ids_are_replaced_and_counted(value: str) -> None:
    """What is not an id is nobody's id: a new one is made, and the reason is told."""
    identity, rejected = identity_of(("X-Request-ID", value))

    assert identity.request_id is None
    assert len(identity.trace_id) == 32
    assert ["request_id_invalid"] == rejected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"00-{'0' * 32}-b7ad6b7169203331-01", id="trace id of zeros"),
        pytest.param(f"00-{HEX}-{'0' * 16}-01", id="span id of zeros"),
        pytest.param(f"ff-{HEX}-b7ad6b7169203331-01", id="version ff"),
        pytest.param(f"{TRACEPARENT}-more", id="version 00 with more"),
        pytest.param(TRACEPARENT.upper(), id="upper case"),
        pytest.param(f"00-{HEX.upper()}-b7ad6b7169203331-01", id="trace id in upper case"),
        pytest.param(f"{TRACEPARENT}\n", id="newline"),
    ],
)
def test_bad_traceparents_are_replaced_and_counted(value: str) -> None:
    """W3C says which are invalid."""
    identity, rejected = identity_of(("traceparent", value))

    assert identity.trace_id != HEX
    assert ["traceparent_invalid"] == rejected


def test_later_versions_of_traceparent_may_have_more() -> None:
    """W3C says to read the parts that are known."""
    identity, rejected = identity_of(("traceparent", f"01-{HEX}-b7ad6b7169203331-00-more"))

    assert (HEX, "00", []) == (identity.trace_id, identity.trace_flags, rejected)
