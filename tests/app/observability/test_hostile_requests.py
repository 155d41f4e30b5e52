"""Contract 1 and 3 under attack: what a client sends makes no id of its liking, no series, and no memory."""

import random
import re
import string
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.observability import extract
from tests.app.observability.test_served import connect, served
from tests.emitted import Emitted
from tests.processes import Processes
from tests.services import Service

VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
HEX = "0af7651916cd43dd8448eb211c80319c"

CLOSE_BY = st.sampled_from([
    b"", b"-", b"a" * 64, b"a" * 65, b"a" * 70_000, b"-" * 10_000 + HEX.encode(), b"urn:uuid:" + HEX.encode(),
    b"{" * 5_000 + HEX.encode(), b" " + HEX.encode(), HEX.encode() + b"\n", b"%0a", b"\x00", b"\xa0", b"\x1b[31m",
    b"00-" + HEX.encode() + b"-b7ad6b7169203331-01", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
    b"01-" + HEX.encode() + b"-b7ad6b7169203331-01-x", b"00-" + HEX.encode() + b"-b7ad6b7169203331-01\r\nX: y",
])  # fmt: skip
VALUES = st.binary(max_size=200) | CLOSE_BY | st.from_regex(rb"[0-9a-f-]{55}", fullmatch=True)
NAMES = st.sampled_from([b"x-request-id", b"traceparent", b"tracestate", b"accept"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_an_id_is_always_harmless(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever the headers are, the ids fit a line, a header and an exemplar; each bad header is counted once."""
    rejected: list[str] = []
    identity = extract(headers, on_rejected=rejected.append)

    assert VALID.fullmatch(identity.trace_id)
    assert re.fullmatch(r"[0-9a-f]{16}", identity.span_id)
    assert identity.request_id is None or VALID.fullmatch(identity.request_id)
    assert re.fullmatch(r"[0-9a-f]{2}", identity.trace_flags)
    assert identity.tracestate is None or re.fullmatch(r"[ -~]{1,512}", identity.tracestate)
    assert len(rejected) == len(set(rejected))
    if identity.request_id:
        assert identity.request_id.encode() in dict(headers).values()


def test_tracestate_is_passed_on_with_its_traceparent_only() -> None:
    """It belongs to a trace: without a valid traceparent it is dropped, and so is one that is too long."""
    traceparent = (b"traceparent", f"00-{HEX}-b7ad6b7169203331-01".encode())
    state = (b"tracestate", b"a=1,b=2")
    rejected: list[str] = []

    assert "a=1,b=2" == extract([traceparent, state], on_rejected=rejected.append).tracestate
    assert extract([state], on_rejected=rejected.append).tracestate is None
    assert [] == rejected
    assert extract([traceparent, (b"tracestate", b"a=" + b"1" * 511)], on_rejected=rejected.append).tracestate is None
    assert ["tracestate_invalid"] == rejected


@pytest.mark.anyio
async def test_at_the_public_edge_no_id_is_a_clients(emitted: Emitted) -> None:
    """With `trust_client_ids=False` nobody writes into another's trace; and nothing of it is echoed."""
    async with emitted.observe(_ok, routes={"/"}, trust_client_ids=False) as client:
        headers = {"X-Request-ID": "mine", "traceparent": f"00-{HEX}-b7ad6b7169203331-01", "tracestate": "a=1"}
        response = await client.get("/", headers=headers)

    line = emitted.finished()
    assert response.headers["x-trace-id"] == line["trace_id"]
    assert line["trace_id"] not in {"mine", HEX}
    assert "request_id" not in line
    assert "x-request-id" not in response.headers


async def _ok(_scope: object, _receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200})  # type: ignore[operator]
    await send({"type": "http.response.body"})  # type: ignore[operator]


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, processes: Processes) -> Iterator[Service]:
    """Serve FastAPI on a real server."""
    with served(processes, "fastapi", request.param, "asyncio") as service:
        yield service


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"X-Request-ID: " + b"a" * 5_000, id="too long"),
        pytest.param(b"X-Request-ID: canary\xe9", id="not ASCII"),
        pytest.param(b"X-Request-ID: urn:uuid:canary", id="urn"),
        pytest.param(b"X-Request-ID: {canary}", id="braces"),
        pytest.param(b'X-Request-ID: canary","level":"forged', id="JSON"),
        pytest.param(b"traceparent: 00-canary", id="traceparent"),
    ],
)
def test_a_bad_id_is_not_echoed(server: Service, header: bytes) -> None:
    """The response has one id, which is new; the bad one is neither in it nor in a line."""
    with connect(server) as client:
        client.sendall(b"GET /sync/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n")
        answer = b""
        while received := client.recv(65536):
            answer += received

    (trace_id,) = re.findall(rb"(?i)\r\nx-trace-id: ([^\r]*)\r\n", answer)
    assert re.fullmatch(rb"[0-9a-f]{32}", trace_id)
    assert b"x-request-id" not in answer.lower()
    assert server.finished(trace_id.decode())
    assert "canary" not in server.output.read_text()


def test_nothing_that_a_client_sends_makes_a_series(server: Service) -> None:
    """10,000 random paths, methods, hosts and ids: no new series but `OTHER` and `unmatched`, and no memory."""
    chaos = random.Random(1)  # noqa: S311 - it has to be the same each time
    _shout(server, chaos, 2_000)
    before, memory = _series(server), _memory(server)
    for _ in range(20):
        _shout(server, chaos, 500)

    assert {("OTHER", "unmatched")} >= {labels[:2] for labels in _series(server) - before}
    assert _memory(server) - memory < 5_000_000


def _shout(server: Service, chaos: random.Random, number: int) -> None:
    """Send many requests in one go, and read all the answers."""

    def word(letters: str = string.ascii_letters + string.digits) -> str:
        return "".join(chaos.choices(letters, k=chaos.randint(3, 12)))

    h11 = "h11" in server.name
    methods = ["GET", "POST", "HEAD", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "PURGE"]
    with connect(server) as client:
        for _ in range(number // 50 or 1):
            batch = b""
            for _ in range(min(50, number)):
                method = word(string.ascii_uppercase) if h11 else chaos.choice(methods)
                path = chaos.choice([f"/{word()}/{word()}", f"/sync/{word()}", f"/echo/{word()}?{word()}={word()}"])
                batch += f"{method} {path} HTTP/1.1\r\nHost: {word()}\r\nX-Request-ID: {word()}\r\n\r\n".encode()
            client.sendall(batch)
            expected, received = min(50, number), b""
            while received.count(b"HTTP/1.1 ") < expected:
                received += client.recv(1_000_000)


def _series(server: Service) -> set[tuple[str, ...]]:
    return {
        tuple(sample.labels[label] for label in ("method", "route", "status"))
        for sample in server.samples()
        if sample.name == "http_request_duration_seconds_count"
    }


def _memory(server: Service) -> int:
    (process,) = (
        p for p in psutil.process_iter(["cmdline"]) if server.url.rpartition(":")[2] in (p.info["cmdline"] or [])
    )
    return int(process.memory_info().rss)


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("application/openmetrics-text;version=abc", id="no number"),
        pytest.param("application/openmetrics-text;version=", id="nothing"),
        pytest.param(f"application/openmetrics-text;version={'9' * 5_000}", id="more digits than Python reads"),
        pytest.param(";;,=", id="no type"),
        pytest.param("\xff" * 99, id="not ASCII"),
    ],
)
def test_metrics_answer_whatever_is_accepted(server: Service, accept: str) -> None:
    """A header is a stranger's text; none of them is a 500."""
    assert 200 == server.client.get("/metrics", headers={b"accept": accept.encode("latin-1")}).status_code
