"""One cluster for all tests, which run in their order."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kubernetes import cluster
from tests.prove.report import DOCS, Report

DEFAULT_PODS = 3
#: The replicas of the service.
PODS = int(os.environ.get("PODS", DEFAULT_PODS))

_HEAD = """\
# The stack on Kubernetes: test results

Written by `make prove-kubernetes` on {day}, in {minutes:.0f} minutes on {cores} cores with a load average of {load:.0f}
at the end. The stack is `deploy/kubernetes/overlays/small` with PODS replicas of the service, in a cluster with
Kubernetes VERSION. The command fails if something is not as described here.

"""

PROVED, LINES, FIGURES = "What each command proved", "Lines", "Figures"


@dataclass
class Proof:
    """The cluster under test, and the report."""

    folder: Path
    report: Report
    began: float  # wall clock


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    """Install the overlay in the cluster of the current kubeconfig; finally, write the page and delete it."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    if error := cluster.errors("get", "--raw", "/readyz"):
        pytest.skip(f"there is no cluster: {error.strip()}")
    for namespace in (cluster.NAMESPACE, cluster.ALLOY):
        if not cluster.errors("get", "namespace", namespace):
            pytest.exit(f"The namespace {namespace} exists. Delete it first, with everything in it.")
    page = DOCS / ("kubernetes-proof.md" if PODS == DEFAULT_PODS else f"kubernetes-proof-{PODS}.md")
    report = Report(page, _HEAD.replace("PODS", str(PODS)).replace("VERSION", cluster.server_version()))
    report.table(
        PROVED,
        ["command", "proved", "result"],
        "All commands ran in the order of the table. `kubectl` is without `--namespace spike-to-log`. The counted "
        "requests are those from scrape to scrape: the last ones of a killed replica are missing, and others than the "
        "sent ones are included. Both are compared with the lines of the same time.",
    )
    report.table(
        LINES,
        ["scenario", "lines written", "in Loki", "missing", "stored twice", "counted twice"],
        "Compares the files of the nodes with the lines that Loki returns, by the whole text of each line. "
        "*Counted twice* is how many more lines `count_over_time` counts: after a kill, Alloy reads the last five "
        "minutes again; Loki shows each of these lines once, but counts some of them twice.",
    )
    report.table(FIGURES, ["figure", "result"], "Measured during the last scenario.")
    began = time.time()
    try:
        yield Proof(tmp_path_factory.mktemp("proof"), report, began)
        report.write()
    finally:
        if not os.environ.get("KEEP"):
            cluster.delete()
