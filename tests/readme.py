"""The code and the commands of the README section "Use it in your own service"."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    """Return the code blocks of the section in a language."""
    _, _, section = README.read_text().partition("\n## Use it in your own service\n")
    section, _, _ = section.partition("\n## ")
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def service() -> str:
    """Return the code of `service.py`."""
    (code,) = blocks("python")
    return code
