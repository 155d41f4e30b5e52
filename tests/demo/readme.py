"""The story in the README: `make story` puts a new one there, and a test holds its form to what the demo tells."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
_STORY = re.compile(r"(?<=```console\n\$ make demo\n).*?(?=```)", re.DOTALL)


def story() -> str:
    """Return what the README shows."""
    (shown,) = _STORY.findall(README.read_text())
    return str(shown)


def form(told: str) -> list[str]:
    """Return what of a story is the same in every run: its sentences, without numbers, ids and who was slow."""
    sentences = [line for line in told.splitlines() if re.match(r"\w|  (In truth|p\d|most of)", line)]
    masked = [re.sub(r"[\da-f]*\d[\da-f.:]*( m?s\b)?", "#", line) for line in sentences]
    masked = [re.sub(r"#(, #)+", "#", line) for line in masked]
    return [re.sub(r" {2,}|(?<=lines of one ).*|(earlier|later)", " ", line).strip() for line in masked]


def main() -> None:
    """Run the demo, and show what it tells."""
    told = subprocess.run([sys.executable, "-m", "demo"], check=True, stdout=subprocess.PIPE, text=True).stdout
    README.write_text(_STORY.sub(lambda _: told, README.read_text(), count=1))


if __name__ == "__main__":
    main()
