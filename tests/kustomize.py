"""Build the objects in deploy/kubernetes/ with Kustomize."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.compose import ROOT, max_connections
from tests.stack.native import SERVERS

OVERLAYS = ROOT / "deploy" / "kubernetes"


@functools.cache
def build(overlay: str | Path) -> list[dict[str, Any]]:
    """Return the objects of a folder, relative to deploy/kubernetes/; skip the test if there is no Kustomize."""
    done = subprocess.run([*_command(), OVERLAYS / overlay], capture_output=True, text=True, check=False)  # noqa: S603
    assert 0 == done.returncode, done.stderr
    assert "" == done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _command() -> list[str | Path]:
    if (built := SERVERS / "kustomize").exists():
        return [built, "build"]
    if program := shutil.which("kustomize"):
        return [program, "build"]
    if program := shutil.which("kubectl"):
        return [program, "kustomize"]
    pytest.skip("neither kustomize nor kubectl is installed: run scripts/servers kustomize")


def pod_specs(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the pod specifications by the name of their Deployment, StatefulSet or DaemonSet."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}
    }


def environment(container: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables with a value in the manifest itself."""
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}


def spare_connections(objects: list[dict[str, Any]], replicas: int) -> int:
    """Return how many connections of the database are left if all replicas of api use theirs in a rolling update."""
    specs = pod_specs(objects)
    (deployment,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == ("Deployment", "api")]
    surge = int(deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"].removesuffix("%"))
    pods = replicas + -(-replicas * surge // 100)
    pool = int(environment(specs["api"]["containers"][0])["DATABASE_POOL_SIZE"])
    accepted = max_connections(specs["postgres"]["containers"][0]["args"]) - 3  # for superusers
    return accepted - pods * pool
