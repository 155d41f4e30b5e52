"""The walk as a whole: what is found is true, and what is wrong is found."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import checks
from demo.__main__ import main
from tests.demo import readme
from tests.demo.started import Demo
from tests.waiting import eventually

Lines = list[dict[str, Any]]
REFERENCE = (Path(__file__).parents[2] / "docs/reference.md").read_text()


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Demo]]:
    """Run one with a fault, and another one in the middle of it, without."""
    folder = tmp_path_factory.mktemp("demos")
    first = Demo(folder / "1", "--duration", "30", "--keep", str(folder / "1" / "kept"))
    eventually(lambda: "the database is slow" in first.told or first.process.poll() is not None, "the fault", 60)
    options = ("--fault", "none", "--duration", "10", "--users", "20", "--keep", str(folder / "2" / "kept"))
    started = {"slow-query": first, "none": Demo(folder / "2", *options)}
    yield started
    for demo in started.values():
        demo.kill()


def test_the_story_is_true(demos: dict[str, Demo]) -> None:
    """The spike is where the fault was, its users are named, and all fits a screen."""
    demo = demos["slow-query"]
    assert 0 == demo.ends(), demo.told + demo.complained
    assert "" == demo.complained
    told = demo.told

    off = re.search(r"found (\d+\.\d) s (later|earlier)", told)
    assert off
    assert float(off[1]) <= 2
    blamed = re.search(r"user_id is ([\d, ]+): \d+ of the slow", told)
    unlucky = re.search(r"it was slow-query for the users ([\d, ]+)\.", told)
    assert blamed
    assert unlucky
    assert set(blamed[1].split(", ")) <= set(unlucky[1].split(", "))
    assert len(told.partition("\n\n")[2].splitlines()) <= 40
    assert max(map(len, told.splitlines())) <= 100
    assert 4 == told.count("\nok ")


def test_the_lines_are_from_all_services(demos: dict[str, Demo]) -> None:
    """If an order is among the slowest, what payments wrote stands between what the service wrote."""
    demo = demos["slow-query"]
    demo.ends()
    _, _, lines = demo.told.partition("The lines")
    wrote = re.findall(r"^  \d\d:\d\d:\d\d\.\d{3}  (\w+) +(\w+) +(\w+ \w+)", lines, re.MULTILINE)

    assert ("api", "warning", "Slow statement") in wrote
    if "  POST /orders" in demo.told:
        assert {"api", "payments"} == {service for service, *_ in wrote}


def test_the_readme_shows_such_a_story(demos: dict[str, Demo]) -> None:
    """It is one that the demo tells; if it tells another now, `make story` puts that one there."""
    demo = demos["slow-query"]
    demo.ends()

    assert readme.form(readme.story()) == readme.form(demo.told)


def test_without_a_fault_there_is_no_spike(demos: dict[str, Demo]) -> None:
    """It says so, and all of it holds."""
    demo = demos["none"]

    assert 0 == demo.ends(), demo.told + demo.complained
    assert "There was no spike" in demo.told
    assert "" == demo.complained


def test_the_files_are_as_documented(demos: dict[str, Demo]) -> None:
    """What stands in docs/reference.md stands in the files, and nothing else."""
    demos["none"].ends()
    documented = dict(re.findall(r"^\| `(request\.sent|metric\.sample)` \| (.*) \|$", REFERENCE, re.MULTILINE))
    for file, event in (("requests", "request.sent"), ("samples", "metric.sample")):
        text = (demos["none"].temporary.parent / "kept" / f"{file}.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        exemplars = [line["exemplar"] for line in lines if line.get("exemplar")]
        written = {field for each in (*lines, *exemplars) for field in each}
        assert {event} == {line["event"] for line in lines}
        assert {*re.findall(r"`(\w+)`", documented[event]), "event"} - {"null"} == written


def test_a_folder_of_nothing_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to tell of."""
    assert 1 == main(["--check", str(tmp_path)])
    assert f"There is no run in {tmp_path}: no samples, or no lines of requests.\n" == capsys.readouterr().err


def finished(lines: Lines) -> Lines:
    return [line for line in lines if line.get("event") == "request.finished" and line["route"] == "/users/{user_id}"]


def swap(field: str) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        one, other = finished(lines)[:2]
        one[field], other[field] = other[field], one[field]

    return change


def swap_everywhere(lines: Lines) -> None:
    one, other = (line["trace_id"] for line in finished(lines)[:2])
    for line in lines:
        line["trace_id"] = {one: other, other: one}.get(line["trace_id"], line["trace_id"])


def start_fault(lines: Lines) -> None:
    lines.append({**lines[0], "event": "fault.started", "timestamp": lines[-1]["timestamp"]})


def forget(lines: Lines) -> None:
    lines.remove(finished(lines)[0])


def repeat(lines: Lines) -> None:
    lines.append(finished(lines)[0])


def lie(lines: Lines) -> None:
    finished(lines)[0]["status"] = 404


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda _: None, []),
        (swap("trace_id"), ["requests were sent"]),
        (swap("span_id"), ["exemplars in"]),
        (swap("request_id"), ["requests were sent"]),
        (swap_everywhere, ["requests were sent"]),
        (forget, ["requests were sent", "requests were counted"]),
        (repeat, ["requests were sent", "requests were counted"]),
        (start_fault, ["the spike"]),
        (lie, ["requests were sent", "requests were counted"]),
    ],
    ids=[
        "nothing",
        "trace id",
        "span id",
        "request id",
        "trace id everywhere",
        "forgotten",
        "twice",
        "a fault unseen",
        "status",
    ],
)
def test_what_is_wrong_is_found(
    demos: dict[str, Demo], tmp_path: Path, spoil: Callable[[Lines], None], wrong: list[str]
) -> None:
    """Two requests that changed their ids, a line too few or too many: the check that it concerns fails, with ids."""
    demos["none"].ends()
    folder = tmp_path / "spoiled"
    shutil.copytree(demos["none"].temporary.parent / "kept", folder)
    file = folder / "api.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    ids = {line["request_id"] for line in finished(lines)[:2]} | {line["trace_id"] for line in finished(lines)[:2]}
    spoil(lines)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    failed = [check for check in checks.check(folder) if check.wrong]
    assert all(any(promise in check.promise for check in failed) for promise in wrong)
    assert bool(wrong) == bool(failed)
    assert (0 if not wrong else 1) == main(["--check", str(folder)])
    told = " ".join(trouble for check in failed for trouble in check.wrong)
    assert wrong in ([], ["the spike"]) or any(each in told for each in ids)
