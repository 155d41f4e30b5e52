"""A diagram of latency over time, one panel per loop, and the CPU time of a load generator."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Requests = Sequence[tuple[float, float]]  # when it was due, in seconds after the start, and its latency in milliseconds

_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 130, 60, 50
_BAR = 0.25  # seconds
_MAX = 8_000.0  # milliseconds
_COLOURS = {"open": "#0072b2", "closed": "#d55e00"}
_TITLES = {
    "open": "open loop: requests are sent when they are due, so every second of the stall is visible",
    "closed": "closed loop: users wait for responses, so requests are missing during the stall",
}


def picture(loops: Mapping[str, Requests], seconds: float) -> str:
    """Return an SVG that shows the longest request of each quarter of a second."""
    panels = [_panel(name, requests, number, seconds) for number, (name, requests) in enumerate(loops.items())]
    height = len(panels) * (_HEIGHT + _TOP) + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{"".join(panels)}</svg>\n'
    )


def _panel(name: str, requests: Requests, number: int, seconds: float) -> str:
    top = _TOP + number * (_HEIGHT + _TOP)
    bottom, right = top + _HEIGHT, _LEFT + _WIDTH
    parts = [f'<text x="{_LEFT}" y="{top - 10}" font-weight="bold">{_TITLES[name]}</text>\n']
    for second in range(0, 9, 2):
        y = bottom - second * 1000 / _MAX * _HEIGHT
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{second} s</text>\n')
    for second in range(0, round(seconds) + 1, 10):
        x = _LEFT + second / seconds * _WIDTH
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{second} s</text>\n')
    width = _BAR / seconds * _WIDTH
    for start, longest in _bars(requests):
        height = min(longest, _MAX) / _MAX * _HEIGHT
        x = _LEFT + start / seconds * _WIDTH
        parts.append(
            f'<rect x="{x:.1f}" y="{bottom - height:.1f}" width="{width * 0.85:.2f}" height="{height:.1f}" '
            f'fill="{_COLOURS[name]}"/>\n'
        )
    return "".join(parts)


def _bars(requests: Requests) -> Iterable[tuple[float, float]]:
    """Return the start and the longest latency of each bar."""
    longest: dict[int, float] = {}
    for start, latency in requests:
        bar = int(start // _BAR)
        longest[bar] = max(latency, longest.get(bar, 0.0))
    return ((bar * _BAR, latency) for bar, latency in sorted(longest.items()))


def cpu_seconds(folder: Path) -> float:
    """Return the CPU seconds of a run's generators: each records its share of a core once per second."""
    shares = 0.0
    for file in folder.glob("sent-*.jsonl"):
        for text in file.read_text().splitlines():
            line = json.loads(text)
            if line["event"] == "generator.sampled":
                shares += line["cpu"]
    return shares
