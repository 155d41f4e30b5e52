"""The computed figures of docs/scaling.md follow from the configuration."""

import re

import pytest

from tests.compose import ROOT, compose, load_yaml, max_connections, pool_size

PAGE = (ROOT / "docs/scaling.md").read_text()
REQUESTS = 20  # per second, as in the table
_BUCKETS = 20  # of a replica that grow between two scrapes, as in prometheus.yml
_SERIES = 1500  # of a replica, at most
_MIB = 2**20


def table(title: str) -> dict[str, list[str]]:
    """Return the rows of the table below a heading, by their first cell."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows[2:]}


def seconds(duration: str) -> int:
    """Return the seconds of a duration such as 5s or 2d."""
    return int(duration[:-1]) * {"s": 1, "h": 3600, "d": 86400}[duration[-1]]


def option(service: str, pattern: str) -> str:
    """Return what `pattern` finds in the command of a service."""
    (found,) = re.findall(pattern, "\n".join(compose()["services"][service]["command"]))
    return str(found)


def checks(replicas: int) -> float:
    """Return the number of health checks per second."""
    services = compose()["services"]
    interval = {name: seconds(each["healthcheck"].get("interval", "3s")) for name, each in services.items()}
    started = [name for name, each in services.items() if "scale" not in each]
    return sum(1 / interval[name] for name in started) + (replicas - 1) / interval["api-replica"]


def figures(replicas: int) -> dict[str, str]:
    """Return the computed figures for a number of replicas of api, as they are written in the table."""
    units = {name: float(row[0]) for name, row in table("What one of each costs").items()}
    prometheus = load_yaml("prometheus/prometheus.yml")
    interval = seconds(prometheus["global"]["scrape_interval"])
    collected = [each for each in compose()["services"].values() if each.get("labels", {}).get("logging") == "alloy"]
    levels = re.findall(r"\(\?P<known_level>(\S+)\)\$", (ROOT / "alloy/pipeline.alloy").read_text())[0].split("|")
    series = replicas * units["time series of a replica"]
    kept = seconds(option("prometheus", r"retention\.time=(\w+)"))
    per_hour = replicas * _BUCKETS * 3600 // interval
    connections = pool_size("api") + (replicas - 1) * pool_size("api-replica")
    lines = REQUESTS * units["log lines of a request at `debug`"]
    return {
        "log streams, at most": f"{len(collected) * len(levels)}",
        "time series, at most": f"{replicas * _SERIES:,}",
        "time series": f"{series:,.0f}",
        "samples per second": f"{series / interval:,.0f}",
        "MB of metrics on disk": f"{series / interval * kept * units['bytes on disk of a sample'] / 1e6:,.0f}",
        "exemplars per hour, at most": f"{per_hour:,}",
        "minutes of exemplars, at least": f"{prometheus['storage']['exemplars']['max_exemplars'] * 60 // per_hour:,}",
        "MB of memory for an hour of exemplars": f"{per_hour * units['bytes of memory of an exemplar'] / 1e6:,.0f}",
        "database connections, at most": f"{connections:,}",
        "MiB of memory for these connections": f"{connections * units['MiB of memory of a database connection']:,.0f}",
        "log lines per second": f"{lines:,.0f}",
        "GB of log lines per day": f"{lines * units['bytes of a log line'] * 86400 / 1e9:,.1f}",
        "GB of log lines on disk": f"{lines * units['bytes of a log line in Loki'] * _retention() / 1e9:,.1f}",
        "MiB of memory of the replicas": f"{replicas * units['MiB of memory of a replica']:,.0f}",
        "health checks per second": f"{checks(replicas):.1f}",
        "cores for health checks": f"{checks(replicas) * units['ms of CPU time of a health check'] / 1000:.2f}",
    }


def _retention() -> int:
    (hours,) = re.findall(r"LOKI_RETENTION:-(\w+)\}", (ROOT / "docker-compose.yml").read_text())
    return seconds(hours)


@pytest.mark.parametrize(("column", "replicas"), [(0, 3), (1, 50)])
def test_computed_figures(column: int, replicas: int) -> None:
    """Every figure that is not marked as measured is the result of its formula."""
    rows = table("Three and fifty replicas")
    computed = {name: row[column] for name, row in rows.items() if not row[-1].startswith("measured")}
    assert figures(replicas) == computed


def test_limits() -> None:
    """The limits in the table are those of the configuration, and no figure is above its limit."""
    postgres = compose()["services"]["postgres"]
    limits = {
        "log streams, at most": load_yaml("loki/loki.yml")["limits_config"]["max_global_streams_per_user"],
        "database connections, at most": max_connections(postgres["command"]),
        "MiB of memory for these connections": {"1g": 1024}[postgres["mem_limit"]],
    }
    rows = table("Three and fifty replicas")
    for name, limit in limits.items():
        assert f"{limit:,}" == rows[name][2], name
        assert int(rows[name][1].replace(",", "")) <= limit, name

    most = 1 + (limits["database connections, at most"] - pool_size("api")) // pool_size("api-replica")
    assert f"{most + 1}" in table("Where one machine ends")
