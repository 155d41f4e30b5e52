"""Links, quoted code, `make` targets and ports in the documentation exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXT = "\n".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_are_valid(page: Path) -> None:
    """Relative links point to existing files, and their fragments to headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE) if fragment else []
        assert not fragment or fragment in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}


def test_quoted_code_matches_the_source() -> None:
    """Python blocks with a file name are exact quotes of that file; other tests run the remaining blocks."""
    quotes = re.findall(r"^\[`([^`]+\.py)`\][^\n]*\n```python\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL)
    tested = 1 + (ROOT / "docs/integrations.md").read_text().count("```python")  # the first is in the README
    assert len(quotes) == TEXT.count("```python") - tested
    for name, block in quotes:
        assert block in (ROOT / name).read_text(), name


def test_make_targets_exist() -> None:
    """Every `make` target in the documentation exists."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^|=\S+ )make ([a-z-]+)", TEXT, re.MULTILINE)) <= targets


def test_readme_lists_the_published_ports() -> None:
    """The addresses in the README are the ports that docker-compose.yml publishes."""
    published = set(re.findall(r"_PORT:-(\d+)\}", (ROOT / "docker-compose.yml").read_text()))
    assert published == set(re.findall(r"localhost:(\d+)", (ROOT / "README.md").read_text()))
