"""A lineage as an SVG: text that can be read and selected, for light and dark, without a script. Pure."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from xml.sax import saxutils

from core.lineage.graph import Graph, Node
from core.lineage.layout import layout_of

WIDTH, HEIGHT = 208, 66
ACROSS, DOWN = 46, 18
MARGIN = 24
FOOT = 26
LETTERS = 22
SMALL_LETTERS = 30
COLOURS = {  # by type: on light, on dark
    "comparison": ("#5b6472", "#a8b3c4"),
    "dataset": ("#0b7a75", "#4fd1c5"),
    "file": ("#5b6472", "#a8b3c4"),
    "job": ("#8a4b08", "#f0b060"),
    "iteration": ("#8a4b08", "#f0b060"),
    "checkpoint": ("#5b3fb5", "#b8a4ff"),
    "model": ("#1d5fc4", "#7db3ff"),
    "version": ("#a3276a", "#ff9ccb"),
    "alias": ("#b3261e", "#ff9d94"),
    "picture": ("#3a7a1a", "#9fdc7c"),
}
STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.paper { fill: #f7f8fb; }
.card { fill: #ffffff; stroke: #d9dee8; stroke-width: 1; }
.focus .card { stroke: #1d5fc4; stroke-width: 2.5; }
.label { fill: #17202e; font-size: 13.5px; font-weight: 600; }
.more, .foot { fill: #5b6472; font-size: 11px; }
.type { font-size: 10.5px; font-weight: 700; letter-spacing: .06em; }
.way { fill: none; stroke: #aab4c5; stroke-width: 1.6; }
.tip { fill: #aab4c5; }
.gone .label { text-decoration: line-through; }
"""
DARK = """
.paper { fill: #10141b; }
.card { fill: #1a212c; stroke: #333d4c; }
.focus .card { stroke: #7db3ff; }
.label { fill: #eef2f8; }
.more, .foot { fill: #a8b3c4; }
.way { stroke: #55627a; }
.tip { fill: #55627a; }
"""


def picture_of(graph: Graph) -> str:
    """Return the drawing of a lineage."""
    layout = layout_of(list(graph.nodes), graph.edges)
    columns, heights = layout.columns, layout.heights()
    rows = max(len(column) for column in columns)
    wide = 2 * MARGIN + len(columns) * WIDTH + (len(columns) - 1) * ACROSS
    high = 2 * MARGIN + rows * HEIGHT + (rows - 1) * DOWN + FOOT
    middle = MARGIN + (rows * HEIGHT + (rows - 1) * DOWN) / 2
    places = {
        stop: (
            MARGIN + number * (WIDTH + ACROSS),
            middle + heights[stop] * (HEIGHT + DOWN) - HEIGHT / 2,
        )
        for number, column in enumerate(columns)
        for stop in column
    }
    title = f"Lineage of {graph.focus}"
    size = f'width="{wide}" height="{high:g}" viewBox="0 0 {wide} {high:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(_told(graph))}</desc>',
        f"<style>{STYLE}{_colours(0)}@media (prefers-color-scheme: dark) {{{DARK}{_colours(1)}}}\n</style>",
        f'<rect class="paper" width="{wide}" height="{high:g}" rx="14"/>',
        *(_way([places[stop] for stop in way]) for way in layout.ways),
        *(_card(node, places[node.id], focus=node.id == graph.focus) for node in graph.nodes.values()),
        f'<text class="foot" x="{MARGIN}" y="{high - 16:g}">{escape(title)}{_left_out(graph)}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return a text as XML takes it: somebody's prompt may hold characters that it does not know."""
    return saxutils.escape("".join(letter if letter.isprintable() else " " for letter in text))


def _colours(column: int) -> str:
    return "".join(f".{kind} {{ fill: {pair[column]}; }}\n" for kind, pair in COLOURS.items())


def _told(graph: Graph) -> str:
    """Return the whole lineage in words, for those who do not see the drawing."""
    names = {node.id: f"{node.type} {node.label}" for node in graph.nodes.values()}
    ways = [f"{names[first]} leads to {names[second]}" for first, second in graph.edges]
    return "; ".join(ways or names.values()) + "."


def _left_out(graph: Graph) -> str:
    return f" · {graph.left_out} more not shown" if graph.left_out else ""


def _way(stops: list[tuple[float, float]]) -> str:
    """Return an arrow from the right side of one card to the left side of another, past those between."""
    half = ACROSS / 2
    drawn = ""
    for (x, y), (to_x, to_y) in itertools.pairwise(stops):
        begin, end, at, to = x + WIDTH, to_x, y + HEIGHT / 2, to_y + HEIGHT / 2
        drawn += f"L{begin:g},{at:g} " if drawn else f"M{begin:g},{at:g} "
        drawn += f"C{begin + half:g},{at:g} {end - half:g},{to:g} {end:g},{to:g} "
    x, y = stops[-1][0], stops[-1][1] + HEIGHT / 2
    tip = f"M{x - 8:g},{y - 4:g} L{x:g},{y:g} L{x - 8:g},{y + 4:g} Z"
    return f'<path class="way" d="{drawn.strip()}"/><path class="tip" d="{tip}"/>'


def _card(node: Node, place: tuple[float, float], *, focus: bool) -> str:
    x, y = place
    marks = " focus" if focus else ""
    marks += " gone" if node.told.get("deleted") else ""
    inside = x + 16
    more = _fit(_more(node), SMALL_LETTERS)
    return "\n".join(
        [
            f'<g class="node{marks}"><title>{escape(f"{node.type}: {node.label} ({node.id})")}</title>',
            f'<rect class="card" x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="10"/>',
            f'<rect class="{node.type}" x="{x:g}" y="{y + 12:g}" width="4" height="{HEIGHT - 24}" rx="2"/>',
            f'<text class="type {node.type}" x="{inside:g}" y="{y + 20:g}">{escape(_kind(node))}</text>',
            f'<text class="label" x="{inside:g}" y="{y + 38:g}">{escape(_label(node))}</text>',
            f'<text class="more" x="{inside:g}" y="{y + 54:g}">{escape(more)}</text>',
            "</g>",
        ]
    )


def _label(node: Node) -> str:
    if node.type == "picture":
        return node.label if len(node.label) <= LETTERS else f"{node.label[: LETTERS - 1]}…"
    parts = node.label.split(":")
    if node.type == "model" and len(parts) == len(("ft", "base", "suffix", "id")):
        return _fit(parts[2] or parts[1], LETTERS)  # the whole of it is told on touch
    return _fit(node.label, LETTERS)


def _kind(node: Node) -> str:
    kind = node.told.get("kind")
    shown = f"{kind} model" if node.type == "model" and kind in ("base", "imported") else node.type
    return shown.upper()


def _more(node: Node) -> str:
    """Return the line below a card's label: what matters of a thing of its type."""
    told = node.told
    lines: dict[str, Callable[[], list[Any]]] = {
        "comparison": lambda: [f"{told.get('votes', 0):,} vote{'s' * (told.get('votes') != 1)}"],
        "dataset": lambda: [
            None if told.get("rows") is None else f"{told['rows']:,} row{'s' * (told['rows'] != 1)}",
            "held out" if told.get("held_out") else None,
        ],
        "job": lambda: [told.get("status")],
        "iteration": lambda: ["of the job"],
        "alias": lambda: [f"{100 * told.get('share', 1):g} % of the requests"],
        "picture": lambda: [f"seed {told['seeds'][0]}" if told.get("seeds") else None],
    }
    parts = [part for part in lines.get(node.type, list)() if part]
    if "created" in told:
        parts.append(f"{datetime.fromtimestamp(told['created'], UTC):%Y-%m-%d}")
    return " · ".join(parts)


def _fit(text: str, letters: int) -> str:
    """Return a text that fits a card: its middle is left out, for ids differ at their ends."""
    if len(text) <= letters:
        return text
    end = letters // 2 - 1
    return f"{text[: letters - end - 1]}…{text[-end:]}"
