"""A page of metrics, as far as it is needed: the sum of some series, and the newest exemplar."""

import re
from collections.abc import Iterator

from triage.model import Exemplar

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*?)\})? (\S+)(?: # \{(.*)\} (\S+) (\S+))?\s*$", re.ASCII | re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def total(page: str, name: str, label: str = "") -> float:
    """Return the sum of the samples of `name` whose labels have the text `label`."""
    return sum(_number(value) for sample, labels, value, *_ in _samples(page) if sample == name and label in labels)


def newest(page: str, name: str) -> Exemplar | None:
    """Return the exemplar of `name` that was observed last."""
    found = []
    for sample, _, _, labels, value, at in _samples(page):
        if sample == name and labels:
            ids = dict(_LABEL.findall(labels))
            found.append(Exemplar(ids.get("trace_id", ""), ids.get("span_id", ""), _number(value), _number(at)))
    return max(found, key=lambda each: each.at, default=None)


def _samples(page: str) -> Iterator[tuple[str, str, str, str, str, str]]:
    for found in _SAMPLE.finditer(page):
        name, labels, value, exemplar, of_exemplar, at = (each or "" for each in found.groups())
        yield name, labels, value, exemplar, of_exemplar, at


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
