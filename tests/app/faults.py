"""Start faults in a service under test."""

from typing import Any

from tests.services import Service

HEADERS = {"X-Fault-Lab": "tests"}


def start_fault(service: Service, **fault: object) -> dict[str, Any]:
    response = service.client.post("/faults", json={"fault": "slow-query", "seconds": 60, **fault}, headers=HEADERS)
    assert 201 == response.status_code, response.text
    started: dict[str, Any] = response.json()
    return started
