"""What the tests of docs/integrations.md share."""

from pathlib import Path

import pytest

from tests.integrations.projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Make a project with a copy of observability/."""
    return Project(tmp_path)
