"""Start faults in a service under test."""

from typing import Any

from tests.services import Service

FAULT_HEADERS = {"X-Fault-Lab": "tests"}


def start_fault(service: Service, **fault: object) -> dict[str, Any]:
    response = service.client.post(
        "/faults", json={"fault": "slow-query", "seconds": 60, **fault}, headers=FAULT_HEADERS
    )
    assert 201 == response.status_code, response.text
    started: dict[str, Any] = response.json()
    return started
