"""Where the folder of a run is."""

from pathlib import Path

from triage.errors import CannotTellError

_MARK = "run.jsonl"  # every run's folder has it


def folder_of(runs: Path, run: str | None) -> Path:
    """Return the folder of a run, by its name within `runs` or by a path; the newest one, if none is named."""
    if run is not None:
        found = next((each for each in (runs / run, Path(run)) if _is_run(each)), None)
        if found is None:
            msg = (
                f"There is no run {run}: neither in {runs} nor as a path is it a folder with a {_MARK}; {_known(runs)}"
            )
            raise CannotTellError(msg)
        return found
    known = _runs(runs)
    if not known:
        msg = f"There is no run in {runs}: make one with make load, or name another folder with --runs"
        raise CannotTellError(msg)
    return known[-1]


def _runs(runs: Path) -> list[Path]:
    """Return the runs' folders; last is the one to whose beginning or end somebody wrote last."""
    try:
        return sorted(
            (each for each in runs.iterdir() if _is_run(each)), key=lambda each: (each / _MARK).stat().st_mtime
        )
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    try:
        return (folder / _MARK).is_file()
    except (OSError, ValueError):
        return False


def _known(runs: Path) -> str:
    known = _runs(runs)
    return f"the last runs there are {', '.join(each.name for each in known[-3:])}" if known else "no run is there"
