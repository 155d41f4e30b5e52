"""The README section "Use it in your own service", typed in an empty directory with a new environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import readme
from tests.emitted import Line, parse
from tests.processes import Processes, free_port
from tests.waiting import wait_for

ROOT = Path(__file__).parents[1]


def test_readme_section_works(tmp_path: Path) -> None:
    """The commands succeed, and print the response and the log lines that the section shows."""
    install, run = readme.blocks("sh")
    (code,) = readme.blocks("python")
    command, _, shown_response = "".join(readme.blocks("console")).removeprefix("$ ").partition("\n")
    shown_lines = parse("".join(readme.blocks("json")))
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "app" / "observability", clone / "app" / "observability")
    _skip_without_package_index(tmp_path)

    _run(install, clone)
    shop = tmp_path / "shop"
    (shop / "service.py").write_text(code)
    port = str(free_port())
    environment = {"UVICORN_PORT": port, "PATH": f"{shop / '.venv' / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": ""}
    with Processes(tmp_path) as processes:
        processes.start("shop", ["sh", "-c", f"cd '{shop}' && exec {run.strip()}"], environment)
        wait_for(lambda: "Uvicorn running" in processes.output("shop").read_text(), "the start of the service")
        response = _run(command.replace("8000", port), tmp_path)
        processes.stop("shop")
        lines = parse(processes.output("shop").read_text())
        assert "" == processes.errors("shop").read_text()

    (trace_id,) = re.findall(r"^x-trace-id: (\w+)$", response, re.MULTILINE)
    assert _without_varying_text(shown_response) == _without_varying_text(response)
    own = [line for line in lines if line["trace_id"] == trace_id]
    assert [_without_varying_fields(line) for line in shown_lines] == [_without_varying_fields(line) for line in own]
    assert re.findall("x-trace-id: (.*)", shown_response) == list({line["trace_id"] for line in shown_lines})


def test_both_sections_name_the_same_instance() -> None:
    """The lines of the service in the stack have the instance that Prometheus scrapes."""
    _, _, section = readme.README.read_text().partition("\n## Add your service\n")
    compose, scrape = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[:2])
    ((name, service),) = compose["services"].items()
    (job,) = scrape["scrape_configs"]
    ((target,),) = (each["targets"] for each in job["static_configs"])
    assert (name, target) == (job["job_name"], service["environment"]["INSTANCE"])
    assert f'configure_logging("{name}", os.environ.get("INSTANCE", "-"))' in readme.service()


def _skip_without_package_index(folder: Path) -> None:
    command = [sys.executable, "-m", "venv", str(folder / "probe")]
    subprocess.run(command, check=True)  # noqa: S603
    pip = folder / "probe" / "bin" / "pip"
    command = [str(pip), "download", "--no-deps", "--quiet", "--dest", str(folder), "python-json-logger"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        pytest.skip(f"pip cannot download packages: {done.stderr.strip().splitlines()[-1]}")


def _run(script: str, folder: Path) -> str:
    done = subprocess.run(  # noqa: S603
        ["sh", "-e", "-c", script],  # noqa: S607
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout.replace("\r\n", "\n")


def _without_varying_text(response: str) -> str:
    return re.sub(r"^(date|x-trace-id): .*$", r"\1: ...", response.strip(), flags=re.MULTILINE)


def _without_varying_fields(line: Line) -> Line:
    return {**line, **dict.fromkeys({"timestamp", "trace_id", "span_id", "duration_ms"} & line.keys(), "...")}
