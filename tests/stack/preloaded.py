"""Real servers with lines and samples from a test."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby, pairwise
from math import inf
from pathlib import Path
from typing import Any

import httpx2

from tests.processes import Processes, free_port
from tests.stack.native import ROOT, server
from tests.triage.fake_service import Line


def at(line: Line) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


@contextmanager
def loki(folder: Path, lines: Iterable[Line]) -> Iterator[str]:
    """Start Loki with the shipped configuration and push these lines; yield its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    command: list[str | Path] = [
        server("loki"), "-config.file", ROOT / "loki/loki.yml", "-config.expand-env=true",
        "-server.http-listen-address=127.0.0.1", f"-server.http-listen-port={url.rpartition(':')[2]}",
        f"-server.grpc-listen-port={free_port()}",

    ]  # fmt: skip
    with Processes(folder) as processes:
        processes.start(
            "loki",
            command,
            {"LOKI_DATA": f"{folder}/loki", "LOKI_RULES": f"{folder}/no-rules"},
        )
        processes.wait_until_ready("loki", f"{url}/ready")
        streams = list(_streams(lines))
        for begin in range(0, len(streams), 500):
            body = {"streams": streams[begin : begin + 500]}
            httpx2.post(f"{url}/loki/api/v1/push", json=body, timeout=30).raise_for_status()
        yield url


def _streams(lines: Iterable[Line]) -> Iterator[Mapping[str, Any]]:
    for line in sorted((line for line in lines if line.get("event") != "metric.sample"), key=at):
        labels = {"service_name": line["service"], "level": "info"}
        entry = [str(_nanoseconds(at(line))), json.dumps(line, separators=(",", ":"))]
        yield {
            "stream": labels,
            "values": [[*entry, {"trace_id": line.get("trace_id", "-"), "instance": line.get("instance", "-")}]],
        }


@contextmanager
def prometheus(folder: Path, lines: Iterable[Line]) -> Iterator[str]:
    """Start Prometheus without targets and push the samples among these lines; yield its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    config = folder / "empty.yml"
    config.write_text("{}\n")
    command: list[str | Path] = [
        server("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--enable-feature=exemplar-storage", "--web.enable-otlp-receiver",
    ]  # fmt: skip
    with Processes(folder) as processes:
        processes.start("prometheus", command)
        processes.wait_until_ready("prometheus", f"{url}/-/ready")
        samples = [line for line in lines if line.get("le") is not None]
        for _, simultaneous in groupby(sorted(samples, key=at), key=at):
            body = {"resourceMetrics": list(_resources(list(simultaneous)))}
            httpx2.post(f"{url}/api/v1/otlp/v1/metrics", json=body).raise_for_status()
        yield url


def _resources(samples: Sequence[Line]) -> Iterator[Mapping[str, Any]]:
    """Yield an OTLP resource with the samples of each instance; all samples have the same timestamp."""
    of_instance: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for sample in samples:
        of_instance[sample["service"], sample["instance"]].append(sample)
    for (service, instance), instance_samples in of_instance.items():
        series: dict[tuple[tuple[str, str], ...], list[Line]] = defaultdict(list)
        for sample in instance_samples:
            series[tuple(sample["labels"].items())].append(sample)
        points = [_point(labels, of_series) for labels, of_series in series.items()]
        histogram = {"name": "http_request_duration_seconds", "histogram": {
            "aggregationTemporality": 2, "dataPoints": points}}  # fmt: skip
        resource = {"service.name": service, "service.instance.id": instance}
        yield {"resource": {"attributes": _attributes(resource)}, "scopeMetrics": [{"metrics": [histogram]}]}


def _point(labels: tuple[tuple[str, str], ...], samples: Sequence[Line]) -> Mapping[str, Any]:
    ordered = sorted((float(sample["le"].replace("+Inf", "inf")), sample) for sample in samples)
    counts = [0, *(sample["value"] for _, sample in ordered)]
    return {
        "attributes": _attributes(dict(labels)),
        "timeUnixNano": str(_nanoseconds(at(samples[0]))),
        "count": str(counts[-1]),
        "sum": 0.0,
        "explicitBounds": [bound for bound, _ in ordered if bound != inf],
        "bucketCounts": [str(now - before) for before, now in pairwise(counts)],
        "exemplars": [
            {"timeUnixNano": str(_nanoseconds(exemplar["timestamp"])), "asDouble": exemplar["value"],
             "traceId": exemplar["trace_id"], "spanId": exemplar["span_id"]}
            for _, sample in ordered if (exemplar := sample["exemplar"])
        ],
    }  # fmt: skip


def _attributes(values: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in values.items()]


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e6) * 1000
