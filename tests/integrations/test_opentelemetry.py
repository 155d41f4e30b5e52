"""OpenTelemetry outside and inside of the middleware."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from app.observability import new_trace_id
from tests.emitted import Line
from tests.integrations.projects import Project, Service, example
from tests.waiting import wait_for

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
PROVIDER = """
import logging
from pathlib import Path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

SAMPLER = sampling.DEFAULT_ON
provider = TracerProvider(sampler=SAMPLER)
spans = Path(__file__).with_name("spans.jsonl").open("w", buffering=1)
to_line = lambda span: span.to_json(indent=None) + chr(10)
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=spans, formatter=to_line)))
trace.set_tracer_provider(provider)
"""
ROUTES = """
routes = globals().get("api", app)

@routes.get("/ok")
async def ok() -> str:
    logging.getLogger("shop").info("Working")
    return "ok"

@routes.get("/fails")
async def fails() -> None:
    logging.getLogger("shop").info("Working")
    raise ValueError("out of stock")
"""
OBSERVED = example("OpenTelemetry")
WRAPPED = example("OpenTelemetry", 2)
FORMS = {
    "observed": OBSERVED,
    "wrapped": WRAPPED,
    # FastAPI's own telemetry instead of the instrumentation
    "observed-native": OBSERVED.replace("FastAPIInstrumentor.instrument_app(app)", ""),
    "wrapped-native": WRAPPED.replace("FastAPIInstrumentor.instrument_app(api)", ""),
}
HEADERS: dict[str, dict[str, str]] = {
    "nothing": {},
    "traceparent": {"traceparent": TRACEPARENT},
    "request-id": {"X-Request-ID": "mine-1"},
    "both": {"traceparent": TRACEPARENT, "X-Request-ID": "mine-1"},
}


@dataclass
class Traced:
    """A service whose spans are in a file."""

    service: Service
    project: Project

    def get(self, path: str, headers: dict[str, str]) -> tuple[httpx2.Response, list[Line]]:
        """Make a request, and return the response and all lines with its trace id."""
        response = self.service.client.get(path, headers=headers)
        trace_id = response.headers["X-Trace-ID"]
        if response.status_code >= 500:
            self.service.line(event="request.failed", trace_id=trace_id)
        self.service.line(event="request.finished", trace_id=trace_id)
        return response, self.service.lines(trace_id=trace_id)

    def spans(self) -> list[dict[str, Any]]:
        """Return all spans so far."""
        return [json.loads(line) for line in (self.project.folder / "spans.jsonl").read_text().splitlines()]

    def request_spans(self, before: int, path: str = "/ok") -> list[dict[str, Any]]:
        """Wait for the server's span, which ends after the response, and return the spans of its trace.

        `before` is the number of spans before the request.
        """

        def look() -> list[dict[str, Any]]:
            spans = self.spans()[before:]
            traces = [span["context"]["trace_id"] for span in spans if span["attributes"].get("http.route") == path]
            return [span for span in spans if span["context"]["trace_id"] in traces]

        return wait_for(look, f"the span of {path}")


@contextmanager
def served(project: Project, form: str, sampler: str = "sampling.DEFAULT_ON") -> Iterator[Traced]:
    with project.serve(PROVIDER.replace("sampling.DEFAULT_ON", sampler), FORMS[form], ROUTES) as service:
        yield Traced(service, project)


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """Take each form in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def traced(form: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """Serve one form."""
    with served(Project(tmp_path_factory.mktemp(form)), form) as service:
        yield service


@pytest.mark.parametrize("path", ["/ok", "/fails"])
@pytest.mark.parametrize("sent", HEADERS)
def test_lines_and_spans_have_one_trace_id(traced: Traced, form: str, sent: str, path: str) -> None:
    """The response, all lines and all spans of a request have one trace id; the request id of the client is kept."""
    if form.startswith("wrapped") and sent == "request-id":
        pytest.skip("the limit that the page names: test_a_request_id_that_is_no_trace_id_stays_in_the_lines")
    trace_id = "" if sent == "nothing" else new_trace_id()
    headers = {name: value.replace(TRACE, trace_id) for name, value in HEADERS[sent].items()}
    before = len(traced.spans())
    response, lines = traced.get(path, headers)
    assert response.headers["X-Trace-ID"] == trace_id or "traceparent" not in headers
    expected = ["Request finished", "Working", *(["Request failed"] if path == "/fails" else [])]
    assert sorted(expected) == sorted(line["message"] for line in lines)
    (finished,) = [line for line in lines if line["message"] == "Request finished"]
    assert headers.get("X-Request-ID") == finished.get("request_id") == response.headers.get("X-Request-ID")
    spans = traced.request_spans(before, path)
    assert {f"0x{finished['trace_id']}"} == {span["context"]["trace_id"] for span in spans}
    assert path in {span["attributes"].get("http.route") for span in spans}
    instrumented = any(span["name"].endswith("http send") for span in spans)
    assert instrumented != form.endswith("native"), "spans of the instrumentation, or of FastAPI"


@pytest.mark.parametrize("request_id", ["mine-1", "ab" * 16])
def test_a_request_id_that_is_no_trace_id_stays_in_the_lines(traced: Traced, form: str, request_id: str) -> None:
    """Where OpenTelemetry is inside, it can only continue ids of 32 hex digits; where it is outside, its id wins."""
    before = len(traced.spans())
    response, _ = traced.get("/ok", {"X-Request-ID": request_id})
    trace_id = response.headers["X-Trace-ID"]
    assert (trace_id == request_id) == form.startswith("wrapped")
    of_spans = {span["context"]["trace_id"] for span in traced.request_spans(before)}
    assert 1 == len(of_spans)
    assert (of_spans == {f"0x{trace_id}"}) == (form.startswith("observed") or request_id != "mine-1")


def test_a_clients_span_is_the_parent(traced: Traced) -> None:
    """The server's span is a child of the client's span."""
    before = len(traced.spans())
    traced.get("/ok", {"traceparent": TRACEPARENT})
    (server,) = [span for span in traced.request_spans(before) if span["kind"] == "SpanKind.SERVER"]
    assert f"0x{SPAN}" == server["parent_id"]


@pytest.mark.parametrize(
    ("served_form", "headers", "sampler", "sampled"),
    [
        pytest.param("observed", {}, "sampling.ParentBasedTraceIdRatio(0)", False, id="observed-ratio"),
        pytest.param("observed-native", {}, "sampling.ParentBasedTraceIdRatio(0)", False, id="observed-native-ratio"),
        pytest.param("wrapped", {}, "sampling.ParentBasedTraceIdRatio(0)", True, id="wrapped-ratio"),
        pytest.param(
            "observed", {"traceparent": f"00-{TRACE}-{SPAN}-00"}, "sampling.DEFAULT_ON", False, id="observed-client"
        ),
        pytest.param(
            "wrapped", {"traceparent": f"00-{TRACE}-{SPAN}-00"}, "sampling.DEFAULT_ON", False, id="wrapped-client"
        ),
    ],
)
def test_sampling(
    project: Project,
    served_form: str,
    headers: dict[str, str],
    sampler: str,
    sampled: bool,  # noqa: FBT001 - a case
) -> None:
    """The sampler or the client decides, except for a `traceparent` that the middleware made; lines have ids anyway."""
    with served(project, served_form, sampler) as traced:
        before = len(traced.spans())  # those of /openapi.json
        response, lines = traced.get("/ok", headers)
        if sampled:
            traced.request_spans(before)
    assert sampled == any(span["attributes"].get("http.route") == "/ok" for span in traced.spans())
    assert ["Request finished", "Working"] == sorted(line["message"] for line in lines)
    assert TRACE == response.headers["X-Trace-ID"] or not headers
