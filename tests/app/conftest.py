"""What tests of the services share."""

from collections.abc import Iterator

import pytest

from tests.app.lab import LAB
from tests.services import Service


@pytest.fixture
def no_faults_left(api: Service) -> Iterator[None]:
    """End the faults of a test with it."""
    yield
    assert 204 == api.client.delete("/faults", headers=LAB).status_code
