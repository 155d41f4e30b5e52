"""The example in docs/trace-id.md, run as a real process."""

import asyncio
import sys
from collections import defaultdict
from itertools import groupby
from pathlib import Path

import httpx2

from tests.emitted import Line, parse
from tests.processes import Processes, free_port

EXAMPLES = Path(__file__).parents[1] / "examples"
USERS = [11, 12, 13, 14, 42]  # the database is too slow for the last one


def test_ids_of_five_simultaneous_users_do_not_mix(tmp_path: Path) -> None:
    """The id in a response header is in all lines about that user and in no others; every line is JSON."""
    port = free_port()
    with Processes(tmp_path) as processes:
        command = [sys.executable, "-m", "uvicorn", "observability_engine:app", "--app-dir", str(EXAMPLES)]
        processes.start("engine", [*command, "--port", str(port)])
        processes.wait_until_ready("engine", f"http://127.0.0.1:{port}/openapi.json")
        responses = asyncio.run(_request_all_users_at_once(f"http://127.0.0.1:{port}"))
        processes.stop("engine")
        lines = parse(processes.output("engine").read_text())
        assert "" == processes.errors("engine").read_text()

    by_id: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_id[line["trace_id"]].append(line)
    for user, response in zip(USERS, responses, strict=True):
        own = by_id.pop(response.headers["x-trace-id"])
        expected = ["Fetching user", "Request finished"]
        if user == USERS[-1]:
            expected.insert(1, "Database timeout while fetching user")
            assert "TimeoutError" in own[1]["exception"]
        assert expected == [line["message"] for line in own]
        assert {user, f"/users/{user}"} == {line.get("user_id", line.get("path")) for line in own}
        assert response.status_code == own[-1]["status"]
    assert [] == [line for rest in by_id.values() for line in rest if "user_id" in line]

    order = [line["trace_id"] for line in lines if "user_id" in line or "/users/" in line.get("path", "")]
    assert len(list(groupby(order))) > len(USERS), "no two requests ran at the same time"


async def _request_all_users_at_once(url: str) -> list[httpx2.Response]:
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        return await asyncio.gather(*(client.get(f"/users/{user}") for user in USERS))
