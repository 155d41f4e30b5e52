"""The report in the README: `make story` replaces it, and a test compares its wording with a real one."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
_STORY = re.compile(r"(?<=```console\n\$ make demo\n).*?(?=```)", re.DOTALL)


def story() -> str:
    """Return the report in the README."""
    (shown,) = _STORY.findall(README.read_text())
    return str(shown)


def form(report: str) -> list[str]:
    """Return the wording of a report that is the same in every run, with numbers, ids and chance events masked."""
    sentences = [line for line in report.splitlines() if re.match(r"\w|  (The |Most of)", line)]
    masked = [re.sub(r"[\da-f]*\d[\da-f.:]*( m?s\b)?", "#", line) for line in sentences]
    masked = [re.sub(r"#(, #)+", "#", line) for line in masked]
    return [
        re.sub(r" {2,}|(?<=of one of them).*| and # others?$|(earlier|later)", " ", line).strip() for line in masked
    ]


def main() -> None:
    """Run the demo and put its report into the README."""
    report = subprocess.run([sys.executable, "-m", "demo"], check=True, stdout=subprocess.PIPE, text=True).stdout
    report = re.sub(r" +$", "", report, flags=re.MULTILINE)
    README.write_text(_STORY.sub(lambda _: report, README.read_text(), count=1))


if __name__ == "__main__":
    main()
