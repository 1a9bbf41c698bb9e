"""Where the nodes of a lineage go: from left to right, each beyond all that led to it. Pure."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 8


@dataclass(frozen=True)
class Layout:
    """Columns of stops, each from top to bottom; and the stops of each edge, one a column.

    A stop is a node, or the place where an edge passes through a column.
    """

    columns: list[list[str]]
    ways: list[list[str]]

    def heights(self) -> dict[str, float]:
        """Return how far below the middle each stop stands, in rows."""
        return _heights(self.columns)


def layout_of(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """Return where nodes stand and where edges run.

    A node stands as many columns to the right as the longest way to it has steps; what nothing leads to, just
    before what it leads to. In its column it stands near those it is joined to, by repeated means of their
    places (Sugiyama's method); an edge that is longer than a step has a place in each column it passes.

    Args:
        nodes: ids, in an order that decides between equals.
        edges: pairs of ids, from what was before to what came of it; they have no circle.
    """
    depth = _depths(nodes, edges)
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes:
        columns[depth[node]].append(node)
    after: dict[str, list[str]] = defaultdict(list)
    before: dict[str, list[str]] = defaultdict(list)
    ways = []
    for first, second in edges:
        between = range(depth[first] + 1, depth[second])
        passed = [f"{first}\0{second}\0{number}" for number in between]
        for number, stop in zip(between, passed, strict=True):
            columns[number].append(stop)
        way = [first, *passed, second]
        ways.append(way)
        for one, next_one in itertools.pairwise(way):
            after[one].append(next_one)
            before[next_one].append(one)
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        for column in columns if forwards else reversed(columns):
            _settle(column, before if forwards else after, _heights(columns))
    return Layout(columns, ways)


def _depths(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for first, second in edges:
        before[second].append(first)
        after[first].append(second)
    depth: dict[str, int] = {}
    for node in nodes:
        _depth(node, before, depth)
    for node in nodes:
        if not before[node] and after[node]:
            depth[node] = min(depth[each] for each in after[node]) - 1
    return depth


def _depth(node: str, before: Mapping[str, Sequence[str]], known: dict[str, int]) -> int:
    if node not in known:
        known[node] = 1 + max((_depth(each, before, known) for each in before.get(node, ())), default=-1)
    return known[node]


def _heights(columns: Sequence[Sequence[str]]) -> dict[str, float]:
    return {stop: place - (len(column) - 1) / 2 for column in columns for place, stop in enumerate(column)}


def _settle(column: list[str], joined: Mapping[str, Sequence[str]], heights: Mapping[str, float]) -> None:
    """Order a column by the mean height of what each stop is joined to."""

    def mean(stop: str) -> float:
        others = joined.get(stop, ())
        return sum(heights[each] for each in others) / len(others) if others else heights[stop]

    column.sort(key=mean)
