"""pytest's caplog in the tests of a service."""

from tests.integrations.projects import Project, example

SERVICE = """
import logging
from observability import configure_logging
from observability.fastapi import ObservedFastAPI

configure_logging("shop")
app = ObservedFastAPI()

@app.get("/orders")
async def orders() -> list[str]:
    logging.getLogger("orders").info("Orders listed")
    return []
"""


def test_caplog_sees_records_with_ids(project: Project) -> None:
    """The tests of the example pass in a pytest that has its logging plugin, in this order and in the other."""
    project.write("service.py", SERVICE)
    tests = project.write("test_service.py", example("pytest"))
    for order in (("test_records", "test_lines"), ("test_lines", "test_records")):
        output = project.python("-m", "pytest", "-q", *(f"{tests}::{name}" for name in order))
        assert "2 passed" in output
