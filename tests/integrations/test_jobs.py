"""Work outside of requests: jobs, queues, threads and long tasks."""

import sys
from pathlib import Path

from tests.emitted import parse
from tests.integrations.projects import Project, example
from tests.waiting import wait_for

BROKER = """
celery.conf.broker_url = "filesystem://"
celery.conf.broker_transport_options = {{
    "data_folder_in": "{folder}/broker", "data_folder_out": "{folder}/broker", "control_folder": "{folder}/control",
}}

@celery.task
def fail():
    raise ValueError("no paper")
"""
SERVICE = """
from observability.fastapi import ObservedFastAPI
import tasks

tasks.configure_logging("shop")
app = ObservedFastAPI()

@app.post("/orders/{order_id}")
def order(order_id: int) -> None:
    tasks.send_receipt.delay(order_id)
    tasks.fail.delay()
"""


def test_celery_tasks_continue_the_trace(project: Project, tmp_path: Path) -> None:
    """The lines of a task, and those of Celery about its end, have the id of the request that queued it."""
    for folder in ("broker", "control"):
        (tmp_path / folder).mkdir()
    project.write("tasks.py", example("Celery"), BROKER.format(folder=tmp_path))
    with project.serve(SERVICE) as service:
        trace_id = service.client.post("/orders/7").headers["X-Trace-ID"]
        command = [sys.executable, "-W", "ignore", "-m", "celery", "--quiet", "-A", "tasks", "worker"]
        processes = service.processes
        processes.start("worker", [*command, "--concurrency", "1"], env={"PYTHONPATH": str(tmp_path)})
        lines = wait_for(
            lambda: (
                lines
                if len(lines := parse(processes.output("worker").read_text())) > 0
                and [line for line in lines if "raised" in line["message"]]
                else None
            ),
            "the end of both tasks",
        )
    (sent,) = [line for line in lines if line["message"] == "Receipt sent"]
    assert (trace_id, 7) == (sent["trace_id"], sent["order_id"])
    ends = [line for line in lines if line["logger"] == "celery.app.trace"]
    assert [trace_id, trace_id] == [line["trace_id"] for line in ends]
    assert ["info", "error"] == [line["level"] for line in ends]
    assert ("ValueError", "no paper") == (ends[1]["error_type"], ends[1]["error_message"])


def test_a_queue_carries_the_ids(project: Project) -> None:
    """A worker task logs with the ids that were in the message, and with another span id."""
    with project.serve(example("asyncio.Queue")) as service:
        headers = {"X-Request-ID": "mine-1", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        service.client.post("/orders/7", headers=headers)
        request = service.line(event="request.finished", route="/orders/{order_id}")
        sent = service.line(message="Receipt sent")
        trace_id = service.client.post("/orders/8").headers["X-Trace-ID"]
        assert trace_id == service.line(message="Receipt sent", order_id=8)["trace_id"]
    assert "ab" * 16 == request["trace_id"] == sent["trace_id"]
    assert request["span_id"] != sent["span_id"]


def test_threads_keep_the_id_where_they_copy_the_context(project: Project) -> None:
    """The text of each line states whether it should have the id."""
    with project.serve(example("Threads and executors")) as service:
        trace_id = service.client.get("/threads").headers["X-Trace-ID"]
        service.line(event="request.finished", route="/threads")
        lines = service.lines(logger="service")
    assert 5 == len(lines)
    for line in lines:
        assert (trace_id if line["message"].endswith("with the id") else "-") == line["trace_id"], line["message"]


def test_a_poller_has_an_id_for_each_round(project: Project) -> None:
    """Outside of `continue_trace`, a task has the id of the request that started it; inside, one for each round."""
    with project.serve(example("Tasks that outlive their request")) as service:
        trace_id = service.client.post("/pollers").headers["X-Trace-ID"]
        wait_for(lambda: len(service.lines(message="Polled")) > 2, "three rounds")
        assert trace_id == service.line(message="Poller started")["trace_id"]
        rounds = [line["trace_id"] for line in service.lines(message="Polled")]
        finished = service.line(event="request.finished", route="/pollers")
    assert len(rounds) == len(set(rounds))
    assert trace_id not in rounds
    assert "poll_ms" not in finished


POLLER = """
import asyncio, tracemalloc
from observability import annotate, continue_trace, timer
from observability.middleware import ObservabilityMiddleware

async def poll(rounds):
    for number in range(rounds):
        with timer("poll"), timer(f"poll_{number}"):
            annotate(**{f"round_{number}": number})
        with continue_trace({}), timer("poll"):
            pass

async def app(scope, receive, send):
    scope["tasks"].append(asyncio.create_task(begin(scope["ended"])))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

async def begin(ended):
    await ended.wait()
    await poll(1_000)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await poll(100_000)
    after, _ = tracemalloc.get_traced_memory()
    print(after - before)

async def main():
    async def receive():
        return {"type": "http.request"}
    async def send(message):
        pass
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "tasks": [], "ended": asyncio.Event()}
    await ObservabilityMiddleware(app)(scope, receive, send)
    scope["ended"].set()
    await asyncio.gather(*scope["tasks"])

asyncio.run(main())
"""


def test_a_poller_needs_no_more_memory(project: Project) -> None:
    """100,000 rounds with a timer, also with names that never repeat, after the request that started the task."""
    output = project.python(project.write("program.py", POLLER))
    assert 50_000 > int(output.splitlines()[-1])
