"""Requests that a web page can make the browser of a user of this machine send to the published ports."""

import json
import time
from collections.abc import Mapping
from typing import NamedTuple

import httpx2

FAULT = {"fault": "slow-query", "users": [1], "seconds": 5, "delay_ms": 100}
SWARM = "user_count=1&spawn_rate=1&host=http://evil.example"
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FOREIGN_ORIGIN = {"Origin": "http://evil.example"}
FOREIGN_HOST = {"Host": "evil.example"}
PUSH, OTLP = "/loki/api/v1/push", "/api/v1/otlp/v1/metrics"


def log_lines() -> str:
    """Return a log line of now in the JSON format of Loki."""
    values = [[str(time.time_ns()), '{"message": "written"}']]
    return json.dumps({"streams": [{"stream": {"service_name": "gateway"}, "values": values}]})


def metrics() -> str:
    """Return a sample of now in the JSON format of OTLP."""
    point = {"asInt": "7", "timeUnixNano": str(time.time_ns())}
    metric = {"name": "written_by_a_test", "gauge": {"dataPoints": [point]}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})


class Attack(NamedTuple):
    """One request of a web page; `server` has the published port."""

    server: str
    method: str
    path: str
    headers: Mapping[str, str] = {}

    def __str__(self) -> str:
        """Return the name of a test."""
        return f"{self.server} {self.method} {self.path}"


ATTACKS = [
    Attack("loki", "GET", "/ingester/shutdown"),
    Attack("loki", "POST", "/ingester/shutdown"),
    Attack("loki", "GET", "/flush"),
    Attack("loki", "POST", "/flush"),
    Attack("loki", "GET", "/config"),
    Attack("loki", "POST", "/log_level?log_level=debug"),
    Attack("loki", "GET", "/debug/pprof/heap"),
    Attack("loki", "POST", '/loki/api/v1/delete?query={service_name="api"}'),
    Attack("loki", "POST", PUSH, TEXT),
    Attack("loki", "POST", PUSH),
    Attack("loki", "POST", PUSH, JSON | FOREIGN_ORIGIN),
    Attack("loki", "POST", PUSH, JSON | {"Origin": "null"}),
    Attack("loki", "POST", PUSH, JSON | FOREIGN_HOST),
    Attack("loki", "OPTIONS", PUSH, FOREIGN_ORIGIN | {"Access-Control-Request-Method": "POST"}),
    Attack("loki", "POST", "/otlp/v1/logs", JSON),
    Attack("loki", "POST", "/api/prom/push", JSON),
    Attack("loki", "GET", "/loki/api/v1/tail", {"Connection": "Upgrade", "Upgrade": "websocket"}),
    Attack("loki", "GET", "/loki/api/v1/labels", FOREIGN_HOST),
    Attack("loki", "GET", "/ingester/shutdown%2f..%2f..%2fready"),
    Attack("loki", "GET", "/ready%2f..%2fingester%2fshutdown"),
    Attack("prometheus", "POST", OTLP, TEXT),
    Attack("prometheus", "POST", OTLP, JSON | FOREIGN_ORIGIN),
    Attack("prometheus", "POST", OTLP, JSON | FOREIGN_HOST),
    Attack("prometheus", "POST", "/api/v1/write", {"Content-Type": "application/x-protobuf"}),
    Attack("prometheus", "POST", "/-/reload"),
    Attack("prometheus", "PUT", "/-/quit"),
    Attack("prometheus", "POST", "/api/v1/admin/tsdb/delete_series?match[]=up"),
    Attack("prometheus", "GET", "/debug/pprof/heap"),
    Attack("prometheus", "GET", "/api/v1/query?query=up", FOREIGN_HOST),
    Attack("alloy", "GET", "/-/reload"),
    Attack("alloy", "POST", "/-/reload"),
    Attack("alloy", "GET", "/-/support"),
    Attack("alloy", "GET", "/debug/pprof/heap"),
    Attack("alloy", "GET", "/", FOREIGN_HOST),
    Attack("api", "POST", "/faults", JSON | FOREIGN_ORIGIN),
    Attack("api", "POST", "/faults", JSON | FOREIGN_HOST),
    Attack("api", "DELETE", "/faults", FOREIGN_ORIGIN),
    Attack("api", "GET", "/users/1", FOREIGN_HOST),
    Attack("locust", "POST", "/swarm", FORM | FOREIGN_ORIGIN),
    Attack("locust", "POST", "/swarm", FORM | FOREIGN_HOST),
    Attack("locust", "POST", "/swarm", FORM | {"Origin": "null"}),
    Attack("locust", "GET", "/stop", FOREIGN_ORIGIN),
    Attack("locust", "GET", "/stats/requests", FOREIGN_HOST),
]  # fmt: skip

#: Paths below Grafana's data source proxy, which anonymous visitors may use.
THROUGH_GRAFANA = [
    ("GET", "loki/ingester/shutdown"),
    ("GET", "loki/flush"),
    ("GET", "loki/config"),
    ("POST", f"loki{PUSH}"),
    ("GET", "loki/loki/api/v1/tail"),
    ("POST", "loki/loki/api/v1/delete"),
    ("POST", "prometheus/api/v1/write"),
    ("POST", f"prometheus{OTLP}"),
    ("POST", "prometheus/api/v1/admin/tsdb/clean_tombstones"),
]


def assert_refused(url: str, attack: Attack) -> None:
    """Send the request to a server's published URL, with a body that the server accepts from others."""
    bodies = {PUSH: log_lines(), OTLP: metrics(), "/faults": json.dumps(FAULT), "/swarm": SWARM}
    body = bodies.get(attack.path) if attack.method == "POST" else None
    response = httpx2.request(attack.method, url + attack.path, headers=attack.headers, content=body)

    assert response.status_code in {400, 403, 405}
    if attack.server != "locust":  # its pages may read the refusal, but nothing else
        assert "access-control-allow-origin" not in response.headers


def assert_refused_by_grafana(grafana: str, method: str, path: str) -> None:
    """Send the request to the data source proxy, which serves queries."""
    proxy = f"{grafana}/api/datasources/proxy/uid"
    response = httpx2.request(method, f"{proxy}/{path}", json={})

    assert response.status_code in {400, 403, 404, 405}
    assert 200 == httpx2.get(f"{proxy}/loki/loki/api/v1/labels").status_code
