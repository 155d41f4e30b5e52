"""Fixtures for tests of the services."""

from collections.abc import Iterator

import pytest

from tests.app.faults import FAULT_HEADERS
from tests.services import Service


@pytest.fixture
def end_faults(api: Service) -> Iterator[None]:
    """End the faults that a test starts."""
    yield
    assert 204 == api.client.delete("/faults", headers=FAULT_HEADERS).status_code
