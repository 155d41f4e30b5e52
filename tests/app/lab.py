"""The fault lab, as tests use it."""

from typing import Any

from tests.services import Service

LAB = {"X-Fault-Lab": "tests"}


def start_fault(api: Service, **fault: object) -> dict[str, Any]:
    response = api.client.post("/faults", json={"seconds": 60, **fault}, headers=LAB)
    assert 201 == response.status_code, response.text
    started: dict[str, Any] = response.json()
    return started
