"""docs/reference.md is complete and correct."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic_settings import BaseSettings
from typer.testing import CliRunner

from app.faults.models import KINDS
from app.settings import PaymentsSettings, Settings
from demo.cli import cli as demo_cli
from loadtest.__main__ import LoadSettings
from loadtest.options import RunOptions
from loadtest.profiles import PROFILES
from loadtest.run import cli as run_cli
from tests.emitted import Line
from tests.services import Service
from triage.endpoints import SERVERS, read_endpoints
from triage.explain import Explanation
from triage.incidents import EVENT, Incident, as_line
from triage.tour.steps import Step

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/reference.md").read_text()
SOURCES = {path: path.read_text() for package in ("app", "loadtest", "demo") for path in (ROOT / package).rglob("*.py")}


def table(title: str) -> dict[str, list[str]]:
    """Return the rows of the first table below a heading, by the code in the first cell."""
    _, _, rest = REFERENCE.partition(f" {title}\n")
    section = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {match[1]: row[1:] for row in rows if (match := re.match(r"\[?`([^`]+)`", row[0]))}


@pytest.fixture(scope="module")
def lines(api: Service, payments: Service) -> list[Line]:
    """Return the lines of some requests, one of them with a fault."""
    lab = {"X-Fault-Lab": "tests", "X-Request-ID": "reference-1"}
    fault = {"fault": "slow-query", "users": [3], "delay_ms": 600, "seconds": 60}
    api.client.post("/faults", json=fault, headers=lab).raise_for_status()
    api.client.post("/orders", json={"user_id": 3, "sku": "mug", "quantity": 1}).raise_for_status()
    last = api.client.delete("/faults", headers=lab).headers["x-trace-id"]
    api.finished(last)
    return [*api.lines(), *payments.lines()]


def test_written_fields_are_documented(lines: list[Line]) -> None:
    """Every field that occurs in a line is documented."""
    always = table("Fields of every line")
    own = [line for line in lines if line["logger"].startswith(("app", "observability"))]
    assert set(always) == set.intersection(*(set(line) for line in lines))
    assert {field for line in own for field in line} <= {*always, *table("Further fields")}


def test_documented_fields_are_written() -> None:
    """Every documented field occurs in the code."""
    code = "\n".join(SOURCES.values())
    timers = set(re.findall(r'(?:timer|record_time)\("(\w+)"', code))
    timings = {f"{timer}_{unit}" for timer in timers for unit in ("ms", "calls")}
    unknown = {field for field in table("Further fields") if not re.search(rf'"{field}"|\b{field}=', code)}
    assert timings <= set(table("Further fields"))
    assert set() == unknown - timings


def test_events() -> None:
    """The documented events are those in the code."""
    written = {name for text in SOURCES.values() for name in re.findall(r'(?:"event": ?|\bline\(\s*)"([a-z.]+)"', text)}
    assert written | {EVENT} == set(table("Events")) | set(table("Files"))


def test_incidents() -> None:
    """The documented fields of an incident are those of its line."""
    line = as_line(Incident("api", 1.0, 2.0, 5, 9), Explanation("api", 500.0, None, "given"))
    assert set(line.fields) - {"event"} == set(table("Incidents in Loki"))


def test_metrics(api: Service, payments: Service) -> None:
    """The documented metrics and labels are those that the services export."""

    def families(service: Service) -> Iterator[str]:
        page = service.client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
            yield f"{name}_total" if kind == "counter" else name

    shown = {name for service in (api, payments) for name in families(service)}
    assert {name for name in shown if not name.startswith(("process_", "python_gc_"))} == set(table("Metrics"))
    samples = api.samples()
    for name, (labels, _) in table("Metrics").items():
        found = {label for sample in samples if sample.name in {name, f"{name}_bucket"} for label in sample.labels}
        assert set(re.findall(r"`(\w+)`", labels)) >= found - {"le"}


def test_metrics_of_the_load() -> None:
    """Every metric of the load generator is documented."""
    named = {
        name
        for path, text in SOURCES.items()
        for name in re.findall(r'"(load_[a-z_]+)"', text)
        if "loadtest" in path.parts
    }
    assert named == set(table("Metrics of the load"))


def test_measured_runs() -> None:
    """The documented options, defaults and profiles of a measured run are those of the command."""
    documented = {
        name.removeprefix("--"): re.findall(r"^`([^`]+)`", row[0])
        for name, row in table("Options of a measured run").items()
    }
    options = RunOptions(run="any")
    defaults = {name: getattr(options, name) for name in RunOptions.model_fields}
    actual = {**defaults, "host": options.url, "rate": f"{options.rate:g}"}
    without_default = {"run", "seconds", "users"}
    assert {name: [] if name in without_default else [str(value)] for name, value in actual.items()} == documented
    names = re.findall(r"^  --(\w+)", CliRunner().invoke(run_cli, ["--help"]).stdout, re.MULTILINE)
    assert set(names) - {"help"} == set(documented)
    profiles = {name: row[0] for name, row in table("Profiles").items()}
    assert {name: f"`{profile.seconds}`" for name, profile in PROFILES.items()} == profiles


@pytest.mark.parametrize(
    ("title", "kinds"), [("Of api and payments", (Settings, PaymentsSettings)), ("Of the load", (LoadSettings,))]
)
def test_environment_variables(title: str, kinds: tuple[type[BaseSettings], ...]) -> None:
    """The documented environment variables and defaults are those of the settings."""
    known: dict[str, set[str]] = {}
    for kind in kinds:
        for name, field in kind.model_fields.items():
            variable = field.validation_alias or f"{kind.model_config.get('env_prefix', '')}{name}".upper()
            known.setdefault(str(variable), set()).add(re.sub(r"/$|\.0$", "", str(field.default)))
    assert set(known) == set(table(title))
    for name, defaults in known.items():
        if defaults != {""}:
            assert defaults == set(re.findall(r"`([^`]+)`", table(title)[name][0]))


def test_the_tour() -> None:
    """The documented variables, defaults and steps of the tour are those in the code."""
    urls = {f"{name.upper()}_URL": f"`{getattr(read_endpoints(), name).url}`" for name in SERVERS}
    assert urls == {name: row[0] for name, row in table("Of the tour").items()}
    assert {step.value for step in Step} == set(table("Steps of the tour"))


def test_variables_of_compose() -> None:
    """The variables in docker-compose.yml are documented with their defaults."""
    compose = (ROOT / "docker-compose.yml").read_text()
    read = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", compose))
    own = table("Of docker-compose.yml")
    assert set(read) - set(table("Of api and payments")) - set(table("Of the load")) == set(own)
    assert {name: f"`{read[name]}`" for name in own} == {name: row[0] for name, row in own.items()}


def test_dashboards_and_faults() -> None:
    """Every dashboard and every fault is documented."""
    dashboards = {json.loads(path.read_text())["uid"] for path in (ROOT / "grafana/dashboards").glob("*.json")}
    assert dashboards == set(table("Dashboards"))
    assert set(KINDS) == set(table("Faults"))


def test_labels_of_loki() -> None:
    """The documented labels and structured metadata are those in the Alloy configuration."""
    pipeline = (ROOT / "alloy/pipeline.alloy").read_text()
    for name, (kind, _) in table("Loki").items():
        block = "labels" if kind == "label" else "structured_metadata"
        found = re.search(rf"stage\.{block} {{.*?values\s*=\s*{{(.*?)}}", pipeline, re.DOTALL)
        assert found
        assert name in found[1]


def test_options_of_the_demo() -> None:
    """The documented options and defaults of the demo are those of the command."""
    documented = {name: re.findall(r"^`([^`]+)`", row[0]) for name, row in table("Options of the demo").items()}
    actual = {option.opts[0]: option.default for option in typer.main.get_command(demo_cli).params}
    assert {name: [] if default is None else [str(default)] for name, default in actual.items()} == documented
