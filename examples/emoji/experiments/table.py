"""The results of the experiments in Markdown."""

import statistics
from collections.abc import Iterable
from typing import Any

COLUMNS = {
    "style_share": ("style", 2),
    "frechet_distance": ("FD", 1),
    "retrieval_at_10": ("R@10", 2),
    "caption_cosine": ("cosine", 2),
    "histogram_distance": ("colours", 2),
}
Line = dict[str, Any]


def table(lines: list[Line]) -> str:
    """Return one table a split: a row for each setting, iteration and guidance.

    A cell of one training has its 95% interval over pictures; a cell of several trainings the mean of
    their values and their range.
    """
    parts = []
    for split in ("validation", "test"):
        rows = [line for line in lines if line["split"] == split]
        if rows:
            parts.append(f"### {split} captions\n\n" + "\n".join(_table(rows)) + "\n")
    return "\n".join(parts)


def _table(lines: list[Line]) -> Iterable[str]:
    head = [
        "setting",
        "iteration",
        "guidance",
        *(title for title, _ in COLUMNS.values()),
        "trainings",
        "CPU s",
    ]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault((line["setting"], line["iteration"], line["guidance"]), []).append(line)
    for group in sorted(groups, key=_order):
        yield _row(group, groups[group])


def _order(group: tuple[Any, ...]) -> tuple[Any, ...]:
    """Ceilings first, then by guidance, so that what can be compared stands together."""
    setting, iteration, guidance = group
    return guidance or 0, setting != "base", setting, iteration or 0


def _row(group: tuple[Any, ...], lines: list[Line]) -> str:
    cells = ["" if part is None else f"{part:g}" if isinstance(part, float) else str(part) for part in group]
    for name, (_, digits) in COLUMNS.items():
        cells.append(_cell([line["metrics"][name] for line in lines if name in line["metrics"]], digits))
    cells.append(str(len(lines)))
    costs = [line["cpu_seconds"] for line in lines if "cpu_seconds" in line]
    cells.append(f"{statistics.mean(costs):.0f}" if costs else "")
    return "| " + " | ".join(cells) + " |"


def _cell(intervals: list[dict[str, float]], digits: int) -> str:
    if not intervals:
        return ""
    values = [interval["value"] for interval in intervals]
    low, high = min(values), max(values)
    if len(values) == 1:
        low, high = intervals[0]["low"], intervals[0]["high"]
    return f"{statistics.mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
