"""Charts as inline SVG, drawn with a few lines of arithmetic: no library, no script, no font to fetch."""

import json
import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup

from core.report.facts import Chart, Column, Cost, Facts, Interval, Measure, Series

STYLE = Path(__file__).with_name("chart.css")
WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 28
SMOOTHING = 0.8
MOST_LABELS = 9
"""Names of iterations that have room along an axis."""
LONGEST_NAME = 16
At = Callable[[float, float], tuple[float, float]]


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers that span ``low`` to ``high``, about ``count`` of them."""
    span = (high - low) or abs(high) or 1.0
    raw = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def label(value: float) -> str:
    """Return a tick's number, short."""
    return f"{value:.6g}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.0e}"


def smooth(points: Sequence[tuple[float, float]], weight: float = SMOOTHING) -> list[tuple[float, float]]:
    """Return the exponential moving average of a line, without the pull of its first value."""
    average, total = 0.0, 0.0
    found = []
    for x, y in points:
        average = weight * average + (1 - weight) * y
        total = weight * total + (1 - weight)
        found.append((x, average / total))
    return found


def split(series: Series, starts: Sequence[float]) -> list[Series]:
    """Return the parts of a line between the starts of iterations: an average must not reach over one.

    Steps count from 1, so the step at which the next iteration starts is the last of the one before.
    """
    edges = [-math.inf, *starts, math.inf]
    parts = [
        tuple(point for point in series.points if low < point[0] <= high) for low, high in pairwise(edges)
    ]
    return [Series(series.label, series.role, part) for part in parts if part]


def line_chart(chart: Chart, *, readable: bool = False) -> Markup:
    """Draw lines over steps: what was measured pale, its moving average on top.

    Args:
        chart: what is drawn.
        readable: with the numbers in ``data-`` attributes, from which a script reads out.
    """
    every = [point for series in chart.series for point in series.points]
    if not every:
        return Markup('<p class="none">Nothing was recorded.</p>')
    end = max(point[0] for point in every) or 1.0
    ticks_x = nice_ticks(0, end)
    ticks_y = nice_ticks(*_central([value for point in every for value in point[1:]]))

    def at(x: float, y: float) -> tuple[float, float]:
        share = (min(max(y, ticks_y[0]), ticks_y[-1]) - ticks_y[0]) / (ticks_y[-1] - ticks_y[0])
        across = LEFT + x / end * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    parts = [_axis(at, ticks_x, ticks_y, end), _bounds(chart, at, ticks_y[0])]
    starts = [step for step, _ in chart.bounds if step > 0]
    parts += [_line(part, at) for series in chart.series for part in split(series, starts)]
    told = _numbers(chart, end, (ticks_y[0], ticks_y[-1])) if readable else ""
    return _svg("".join(parts), WIDTH, HEIGHT, f"{chart.title}: {chart.note}", told)


def _bounds(chart: Chart, at: At, foot: float) -> str:
    parts = []
    every = math.ceil(len(chart.bounds) / MOST_LABELS)
    for index, (step, name) in enumerate(chart.bounds):
        x, _ = at(step, foot)
        parts.append(f'<line class="bound" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        if index % every == 0:
            parts.append(f'<text class="bound" x="{x + 4}" y="{TOP + 8}">{escape(name)}</text>')
    return "".join(parts)


def _numbers(chart: Chart, end: float, span: tuple[float, float]) -> str:
    lines = [
        {"label": each.label, "role": each.role, "points": [point[:2] for point in each.points]}
        for each in chart.series
    ]
    told = {
        "lines": lines,
        "end": end,
        "span": span,
        "box": [LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM],
    }
    return f' data-chart="{escape(json.dumps(told, separators=(",", ":")), quote=True)}"'


def _central(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of values without the wildest 2% at each end: one spike must not flatten the rest."""
    ordered = sorted(values)
    cut = len(ordered) // 50
    return ordered[cut], ordered[-1 - cut]


def _axis(at: At, ticks_x: list[float], ticks_y: list[float], end: float) -> str:
    parts = []
    for value in ticks_y:
        _, y = at(0, value)
        parts.append(_rule(value, y))
    for value in ticks_x:
        if value <= end:
            x, y = at(value, ticks_y[0])
            parts.append(
                f'<text class="tick" x="{x}" y="{y + 17}" text-anchor="middle">{label(value)}</text>'
            )
    return "".join(parts)


def _rule(value: float, y: float) -> str:
    line = f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
    return f'{line}<text class="tick" x="{LEFT - 7}" y="{y + 3.5}" text-anchor="end">{label(value)}</text>'


def _line(series: Series, at: At) -> str:
    def path(points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{x:g},{y:g}" for x, y in (at(*point) for point in points))

    mean = [(step, value) for step, value, _, _ in series.points]
    drawn = f'<polyline class="raw {series.role}" points="{path(mean)}"/>'
    if any(low < high for _, _, low, high in series.points):
        around = [(step, high) for step, _, _, high in series.points]
        around += [(step, low) for step, _, low, _ in reversed(series.points)]
        drawn = f'<polygon class="band {series.role}" points="{path(around)}"/>{drawn}'
    return f'{drawn}<polyline class="mean {series.role}" points="{path(smooth(mean))}"/>'


def iteration_chart(facts: Facts, measure: Measure, guidance: float) -> Markup:
    """Draw a measure with its intervals from the base model on, column by column."""
    key = facts.key(measure, guidance)
    shown = [(column, column.measured.get(key)) for column in facts.columns]
    values = [each for _, interval in shown if interval for each in (interval.low, interval.high)]
    if not values:
        return Markup('<p class="none">Not measured yet.</p>')
    ticks = nice_ticks(min(values), max(values))

    def at(x: float, y: float) -> tuple[float, float]:
        share = (y - ticks[0]) / (ticks[-1] - ticks[0])
        across = LEFT + (x + 0.5) / len(shown) * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    parts = [_rule(value, at(0, value)[1]) for value in ticks]
    path = [(x, each.value) for x, (column, each) in enumerate(shown) if each and column.role != "other"]
    points = " ".join(f"{x:g},{y:g}" for x, y in (at(*point) for point in path))
    parts.append(f'<polyline class="trend own" points="{points}"/>')
    every = math.ceil(len(shown) / MOST_LABELS)
    for index, (column, interval) in enumerate(shown):
        x, _ = at(index, ticks[0])
        if index % every == 0:
            place = f'x="{x}" y="{HEIGHT - 9}" text-anchor="middle"'
            parts.append(f'<text class="tick" {place}>{escape(column.label)}</text>')
        if interval is not None:
            parts.append(_whisker(measure, column, interval, at, index))
    said = ", ".join(f"{column.label} {measure.shown(each.value)}" for column, each in shown if each)
    return _svg("".join(parts), WIDTH, HEIGHT, f"{measure.title}: {said}")


def _whisker(measure: Measure, column: Column, interval: Interval, at: At, index: int) -> str:
    x, low = at(index, interval.low)
    _, high = at(index, interval.high)
    _, y = at(index, interval.value)
    said = f"{column.label}: {measure.shown(interval.value)}, {spanned(measure, interval)}"
    return (
        f'<g><title>{escape(said)}</title><line class="whisker {column.role}" x1="{x}" x2="{x}" y1="{low}" '
        f'y2="{high}"/><circle class="dot {column.role}" cx="{x}" cy="{y}" r="4.5"/></g>'
    )


def spanned(measure: Measure, interval: Interval) -> str:
    """Return ``24.8 to 30.4``."""
    return f"{measure.shown(interval.low)} to {measure.shown(interval.high)}"


def interval_strip(measure: Measure, intervals: Sequence[tuple[str, str, Interval]]) -> Markup:
    """Draw label, role and interval of each model as dots with whiskers on one scale, a row each."""
    row, width, right = 17, 250, 6
    names = [
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name, _, _ in intervals
    ]
    left = 8 + 6 * max(map(len, names))
    height = row * len(intervals) + 6
    low = min(interval.low for _, _, interval in intervals)
    high = max(interval.high for _, _, interval in intervals)
    scale = (width - left - right) / ((high - low) or 1)
    parts = []
    for index, (_, role, interval) in enumerate(intervals):
        y = row * index + row / 2 + 3
        x1, x, x2 = (
            round(left + (v - low) * scale, 1) for v in (interval.low, interval.value, interval.high)
        )
        parts.append(f'<text x="0" y="{y + 3.5}">{escape(names[index])}</text>')
        parts.append(f'<line class="rule" x1="{left}" x2="{width}" y1="{y}" y2="{y}"/>')
        parts.append(f'<line class="whisker {role}" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="dot {role}" cx="{x}" cy="{y}" r="4"/>')
    said = ", ".join(f"{name} {measure.shown(interval.value)}" for name, _, interval in intervals)
    return _svg("".join(parts), width, height, f"{measure.label}: {said}")


SHADES = {"encode": 0.25, "generate": 0.5, "train": 1.0, "evaluate": 0.35, "publish": 0.18}


def cost_bars(costs: Sequence[Cost]) -> Markup:
    """Draw the seconds of each job's stages end to end, all jobs on one scale."""
    width, row, bar, left = 760, 46, 22, 58
    longest = max((sum(seconds for _, seconds in cost.stages) for cost in costs), default=0) or 1
    parts = []
    for index, cost in enumerate(costs):
        x, y = float(left), index * row + 6
        parts.append(f'<text class="name" x="0" y="{y + 15}">{escape(cost.label)}</text>')
        for stage, seconds in cost.stages:
            wide = seconds / longest * (width - left)
            opacity = SHADES.get(stage, 0.6)
            parts.append(
                f'<rect class="bar {cost.role}" x="{x:.1f}" y="{y}" width="{max(0.0, wide - 1):.1f}" '
                f'height="{bar}" fill-opacity="{opacity}">'
                f"<title>{escape(stage)} {seconds:.0f} s</title></rect>"
            )
            if wide > 52:
                parts.append(f'<text class="stage" x="{x + 1:.1f}" y="{y + bar + 12}">{escape(stage)}</text>')
            x += wide
    said = "; ".join(f"{cost.label} {sum(seconds for _, seconds in cost.stages):.0f} s" for cost in costs)
    return _svg("".join(parts), width, row * len(costs) + 4, f"Seconds by stage: {said}")


def _svg(body: str, width: float, height: float, said: str, told: str = "") -> Markup:
    opened = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said, quote=True)}"{told}>'
    return Markup(f"{opened}{body}</svg>")  # noqa: S704  every text in it is escaped where it is put in
