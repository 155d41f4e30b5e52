"""The folder of one run of the load: what it was to be, who made it, and what it measured."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from triage.measured import Generator, Latencies, Measured, RunFacts, Timed
from triage.model import Sent
from triage.stores import StoreError, _sql_runs
from triage.stores.jsonl import JsonlStore


class RunFolder(JsonlStore):
    """One run, from the files that its processes wrote."""

    def __init__(self, folder: Path) -> None:
        """Look for the files; `StoreError` if there are none."""
        super().__init__([folder])
        self._folder = folder

    def facts(self) -> RunFacts:
        """Return what it was to be; `StoreError` if nobody wrote of its beginning."""
        started = self._raw.ask(_sql_runs.STARTED)
        if not started:
            msg = f"No line run.started in {self._folder}: name the folder of a run."
            raise StoreError(msg)
        ((began, name, host, profile, loop, seconds, rate, workers),) = started
        if not all(isfinite(each or 0) and (each or 0) > 0 for each in (seconds, rate, workers)):
            msg = f"The line run.started in {self._folder} does not say what was planned: seconds, rate and workers."
            raise StoreError(msg)
        stopped = self._raw.ask(_sql_runs.STOPPED, run=name)
        ended, interrupted = stopped[0] if stopped else (None, False)
        return RunFacts(name, began, ended, interrupted, host, profile, loop, seconds, rate, workers)

    def generators(self, run: str) -> Sequence[Generator]:
        """Return the processes that made the load, in order."""
        return [Generator(*row) for row in self._raw.ask(_sql_runs.GENERATORS, run=run)]

    def measured(self, run: str, slowest: int, failed: int) -> Measured:
        """Return what it measured, with so many of its slowest requests, and of the first that failed."""
        self._raw.ask(_sql_runs.SENT, run=run)
        found = {row[0]: Latencies(*row[1:]) for row in self._raw.ask(_sql_runs.LATENCIES)}
        ((in_time, ended),) = self._raw.ask(_sql_runs.LENGTH)
        return Measured(
            found.pop(None, None),
            found,
            in_time,
            ended,
            tuple(_timed(*row) for row in self._raw.ask(_sql_runs.SLOWEST, most=slowest)),
            tuple(_timed(*row) for row in self._raw.ask(_sql_runs.FAILED, most=failed)),
        )


def _timed(*row: Any) -> Timed:  # noqa: ANN401 - a row of DuckDB
    *sent, server_ms = row
    return Timed(Sent(*sent), server_ms)
