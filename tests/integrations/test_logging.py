"""Other logging libraries, and everything that `logging` accepts."""

import logging
import logging.handlers
import re

import pytest

from tests.emitted import Line, parse
from tests.integrations.projects import Project, example

FAIL = """
import logging
from observability import continue_trace
with continue_trace({"X-Request-ID": "mine-1"}):
    try:
        raise ValueError("out of stock")
    except ValueError:
        logging.getLogger("orders").exception("Order %d failed", 7, extra={"order": 7})
"""


def only(lines: list[Line], **fields: object) -> Line:
    (line,) = [line for line in lines if fields.items() <= line.items()]
    return line


def test_a_queue_handler_keeps_ids_and_exceptions(project: Project) -> None:
    """The line behind the queue is the same as without a queue; so is that of an exception that ends the process."""
    uncaught = "\nraise RuntimeError('the end')"
    lines = project.run(example("QueueHandler and QueueListener"), FAIL, uncaught, code=1)
    direct = project.run("from observability import configure_logging\nconfigure_logging('shop')", FAIL)
    line = only(lines, message="Order 7 failed")
    assert ("mine-1", "ValueError", "out of stock", 7) == (
        line["trace_id"], line["error_type"], line["error_message"], line["order"],
    )  # fmt: skip
    assert [re.sub(":\\d+", "", frame) for frame in direct[0]["stack"]] == [
        re.sub(":\\d+", "", frame) for frame in line["stack"]
    ]
    assert "the end" == only(lines, message="Uncaught exception")["error_message"]


def test_a_queue_handler_without_the_formatter_loses_the_exception(project: Project) -> None:
    """`QueueHandler` writes the traceback into the message and removes the exception; the ids are right."""
    program = example("QueueHandler and QueueListener")
    program = program.replace("handler.setFormatter(stdout.formatter)\nstdout.setFormatter(None)\n", "")
    line = only(project.run(program, FAIL), logger="orders")
    assert "mine-1" == line["trace_id"]
    assert line["message"].startswith("Order 7 failed\nTraceback")
    assert "error_type" not in line


STRUCTLOG = """
from observability import continue_trace

structlog.contextvars.bind_contextvars(tenant="acme")
with continue_trace({"X-Request-ID": "mine-1"}):
    logger.bind(order=7).warning("Order refused", reason="sold out")
    try:
        raise ValueError("out of stock")
    except ValueError:
        logger.exception("Order failed")
logger.debug("Not logged")
try:
    logger.info("Order", name="chair")
except KeyError as error:
    print('{"message": "KeyError"}')
"""


def test_structlog_events_are_lines(project: Project) -> None:
    """An event has the ids, its keys are fields, and exceptions are described as always."""
    lines = project.run(example("structlog"), STRUCTLOG)
    refused, failed, collision = lines
    assert {
        "message": "Order refused", "level": "warning", "logger": "orders", "trace_id": "mine-1",
        "order": 7, "reason": "sold out", "tenant": "acme",
    }.items() <= refused.items()  # fmt: skip
    assert ("mine-1", "ValueError", "out of stock") == (
        failed["trace_id"], failed["error_type"], failed["error_message"],
    )  # fmt: skip
    assert "KeyError" == collision["message"]


LOGURU = """
from observability import continue_trace

with continue_trace({"X-Request-ID": "mine-1"}):
    logger.bind(order=7).success("Order {} accepted", 7)
    try:
        raise ValueError("out of stock")
    except ValueError:
        logger.exception("Order failed")
    logger.trace("Not logged")
"""


def test_loguru_messages_are_lines(project: Project) -> None:
    """A message has the ids and the level of its rank, and exceptions are described as always."""
    accepted, failed = project.run(example("loguru"), LOGURU)
    assert {
        "message": "Order 7 accepted", "level": "info", "logger": "__main__", "trace_id": "mine-1",
        "extra": {"order": 7},
    }.items() <= accepted.items()  # fmt: skip
    assert ("mine-1", "Order failed", "ValueError", "out of stock") == (
        failed["trace_id"], failed["message"], failed["error_type"], failed["error_message"],
    )  # fmt: skip
    assert failed["stack"]


def test_levels_are_ranked_by_their_number(project: Project) -> None:
    """The name of a level does not matter."""
    more = "\n".join(f"logger.log({number}, '{number}')" for number in (1, 10, 19, 20, 29, 30, 39, 40, 49, 50, 99))
    lines = project.run(example("Levels"), "logger.setLevel(1)", more)
    assert {"Renamed": "warning", "Added": "info"}.items() <= {line["message"]: line["level"] for line in lines}.items()
    ranks = {"1": "debug", "10": "debug", "19": "debug", "20": "info", "29": "info", "30": "warning", "39": "warning"}
    ranks |= {"40": "error", "49": "error", "50": "critical", "99": "critical"}
    assert ranks == {line["message"]: line["level"] for line in lines if line["message"].isdigit()}


def test_arguments_of_the_logging_methods(project: Project) -> None:
    """Each call of the example makes the line that its comment describes."""
    lines = project.run(example("Arguments of the logging methods"))
    assert [
        "Order 7 of alice", "Order 7", "Order", "Order", "Order", "Order failed", "Order failed",
    ] == [line["message"] for line in lines]  # fmt: skip
    assert [7, 7] == [line["order"] for line in lines[2:4]]
    assert lines[4]["stack_info"].startswith("Stack (most recent call last)")
    for line in lines[5:]:
        assert ("IndexError", "list index out of range") == (line["error_type"], line["error_message"])
        assert line["stack"][0].startswith("program.py:")


RESERVED = """
import logging
from observability import configure_logging
configure_logging("shop")
logger = logging.getLogger("orders")
for name in NAMES:
    try:
        logger.info("Order", extra={name: 1})
    except KeyError:
        pass
    else:
        raise AssertionError(name)
logger.info("Order", extra={"service": "mine", "level": "mine", "timestamp": 1, "order": 7})
"""


def test_reserved_names_raise_key_error(project: Project) -> None:
    """Attributes of log records are refused by `logging`; the fields of every line cannot be replaced."""
    names = {*vars(logging.makeLogRecord({})), "message", "trace_id", "span_id"} - {"taskName"}
    (line,) = project.run(f"NAMES = {sorted(names)}", RESERVED)
    assert ("shop", "info", 7) == (line["service"], line["level"], line["order"])


VALUES = """
import logging
from observability import configure_logging
configure_logging("shop")
logger = logging.getLogger("orders")

class Broken:
    def __str__(self):
        raise RuntimeError
    __repr__ = __str__

class BrokenError(Exception):
    __str__ = __repr__ = Broken.__str__

cycle = {}
cycle["self"] = cycle
logger.info("%d", "seven")
logger.info("Order", 7)
logger.info(Broken())
logger.info("Order %s", Broken())
logger.info("Order", extra={"value": Broken()})
logger.info("Order", exc_info=BrokenError())
logger.info("Order", exc_info=(ValueError, "text", None))
logger.info("Order", exc_info=(ValueError,))
logger.info("Order", exc_info=(None, None, None))
logger.info("Order", extra={"value": cycle})
logger.info("Order", extra={"value": "x" * 1_000_000})
logger.info("Order", extra={f"value_{n}": "x" * 1_000 for n in range(1_000)})
logger.info("Order", extra={"value": {"a": float("nan"), 7: 2**80, "b": b"bytes"}, 8: 1})
logger.info(None)
logger.info("\\ud800 \\u2028 \\x85 \\n")
"""


def test_values_that_cannot_be_formatted(project: Project) -> None:
    """Each call makes one line of at most 8 KiB, also where a value cannot be formatted."""
    output = project.python(project.write("program.py", VALUES))
    calls = VALUES.count("logger.info(")
    assert calls == len(output.splitlines()) == len(parse(output))
    assert 8192 >= max(len(line.encode()) for line in output.splitlines())


def test_exception_messages_can_be_restricted(project: Project) -> None:
    """With `safe_exceptions`, other messages are in no line; without, they are."""
    program = example("Exception messages")
    refused, failed = project.run(program)
    assert "Sold out" == refused["error_message"]
    assert ("ValueError", False) == (failed["error_type"], "error_message" in failed)
    assert "hunter2" not in str(failed)
    _, failed = project.run(program.replace(", safe_exceptions=[OrderError]", ""))
    assert "Invalid password: hunter2" == failed["error_message"]


FAILING_LIFESPAN = """
from contextlib import asynccontextmanager
from observability.fastapi import ObservedFastAPI

@asynccontextmanager
async def lifespan(_):
    raise ConnectionError("no route to db.example:5432")
    yield

app = ObservedFastAPI(lifespan=lifespan)
"""


@pytest.mark.parametrize(
    ("rest", "message", "error_type", "text", "exit_code"),
    [
        (FAILING_LIFESPAN, "Service cannot start", "ConnectionError", "no route to db.example:5432", 3),
        ("import no_such_module", "Uncaught exception", "ModuleNotFoundError", "No module named 'no_such_module'", 1),
        ("int('no port')", "Uncaught exception", "ValueError", "invalid literal for int() with base 10: 'no port'", 1),
    ],
    ids=["lifespan", "import", "module"],
)
def test_a_failed_start_is_logged_in_full(
    project: Project, rest: str, message: str, error_type: str, text: str, exit_code: int
) -> None:
    """The message of the exception is in the line in spite of `safe_exceptions`, and nothing is plain text."""
    project.write("service.py", example("Exception messages"), rest)
    output = project.python("-m", "uvicorn", "service:app", "--port", "0", code=exit_code)
    line = only(parse(output), message=message)
    assert ("critical", error_type, text) == (line["level"], line["error_type"], line["error_message"])
    assert line["stack"]


RUN_HOOKS = """
class Unraisable:
    def __del__(self):
        raise ValueError("unraisable")

def fail():
    raise ValueError("thread")

Unraisable()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
logging.getLogger("orders").info("Order")
import atexit
atexit.register(lambda: print('{"called": "' + " ".join(called) + '"}'))
raise ValueError("main")
"""


def test_earlier_hooks_are_still_called(project: Project) -> None:
    """Each hook that was installed before is called once, and each exception is logged once."""
    lines = project.run(example("Hooks and handlers"), RUN_HOOKS, code=1)
    assert {"called": "sys.unraisablehook threading.excepthook sys.excepthook"} in lines
    uncaught = [line["error_message"] for line in lines if line.get("message") == "Uncaught exception"]
    assert ["unraisable", "thread", "main"] == uncaught
    assert "eu" == only(lines, message="Order")["region"]


HANDLERS = """
import asyncio, io, logging
import httpx2
from prometheus_client import REGISTRY
from observability import ObservabilityMiddleware, configure_logging

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

def refuse(record):
    raise RuntimeError("broken filter")

async def status():
    transport = httpx2.ASGITransport(ObservabilityMiddleware(app, routes={"/ok"}))
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        response = await client.get("/ok")
    return response.status_code

def value(name, **labels):
    return int(REGISTRY.get_sample_value(name, labels) or 0)

configure_logging("shop", level="WARNING")
plain = io.StringIO()
added = logging.StreamHandler(plain)
added.setFormatter(logging.Formatter("%(levelname)s %(trace_id)s %(message)s"))
logging.getLogger().addHandler(added)
logging.getLogger("orders").error("Order failed", exc_info=ValueError("out of stock"))

statuses = [asyncio.run(status())]
access = logging.getLogger("observability.access")
access.addFilter(refuse)
statuses.append(asyncio.run(status()))
access.removeFilter(refuse)
logging.disable(logging.CRITICAL)
statuses.append(asyncio.run(status()))
logging.disable(logging.NOTSET)
import json
print(json.dumps({
    "plain": plain.getvalue(), "statuses": statuses, "failed": value("log_records_failed_total"),
    "observed": value("http_request_duration_seconds_count", method="GET", route="/ok", status="200"),
}))
"""


def test_handlers_and_filters_of_the_application(project: Project) -> None:
    """An added handler gets every record; a filter that raises and `logging.disable()` cost lines, and no response."""
    *lines, result = project.run(HANDLERS)
    assert "ERROR - Order failed\nValueError: out of stock" in result["plain"]
    assert "INFO" in result["plain"]
    assert [200, 200, 200] == result["statuses"]
    assert (1, 3) == (result["failed"], result["observed"])
    assert 1 == len([line for line in lines if line["message"] == "Request finished"])
