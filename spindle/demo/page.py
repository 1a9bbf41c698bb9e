"""The report: one HTML file that needs nothing else, no network, no script."""

import base64
from html import escape
from pathlib import Path

from spindle.cli.terminal import duration
from spindle.demo.chart import cost_bars, interval_strip, line_chart
from spindle.demo.facts import MEASURES, Chart, Column, Facts, Measure, Row
from spindle.demo.verdict import DOUBT, judge

STYLE = Path(__file__).with_name("style.css")


def render(facts: Facts) -> str:
    """Return the report of a demo as HTML."""
    verdict = judge(facts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(verdict.headline)} · Spindle demo</title>
<link rel="icon" href="data:,">
<style>{STYLE.read_text()}</style>
</head>
<body>
<header class="top">
<p class="kicker">Spindle demo</p>
<h1>{escape(verdict.headline)}</h1>
<p class="lead">{escape(verdict.sentence)}</p>
<p class="doubt">{escape(DOUBT)}</p>
{_key(facts)}
</header>
<main>
{_pictures(facts)}
{_numbers(facts)}
{_training(facts.charts)}
{_cost(facts)}
{_settings(facts)}
</main>
<footer>Made by <code>spindle demo</code>, {escape(facts.finished)}.
Everything here went through the REST API.</footer>
</body>
</html>
"""


def _key(facts: Facts) -> str:
    pairs = (
        ("Fine-tuned on", f"{facts.trained_on} pictures"),
        ("Measured on", f"{facts.held_out} captions never trained on"),
        ("Took in all", duration(facts.seconds)),
        ("Finished", facts.finished),
    )
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="key">{items}</dl>'


def _pictures(facts: Facts) -> str:
    heads = "".join(
        f'<th scope="col" class="{column.role}">{escape(column.label)}'
        f"<small>{escape(column.note)}</small></th>"
        for column in facts.columns
    )
    rows = "\n".join(_picture_row(facts.columns, row) for row in facts.rows)
    return f"""<section id="pictures">
<h2>The pictures</h2>
<p class="note">Captions that no model was trained on, spread evenly over the held-out set in alphabetical
order, not picked. In each row all models start from the same noise.</p>
<table class="pictures" style="--columns: {len(facts.columns) + 1}">
<thead><tr><td></td>{heads}
<th scope="col" class="real">Real<small>the held-out picture</small></th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</section>"""


def _picture_row(columns: tuple[Column, ...], row: Row) -> str:
    assert len(row.drawn) == len(columns), "each column draws each caption"
    cells = "".join(
        f"<td>{_picture(png, f'{row.caption}, drawn by {column.label}')}</td>"
        for column, png in zip(columns, row.drawn, strict=True)
    )
    real = _picture(row.real, f"{row.caption}, the real picture")
    return f'<tr><th scope="row">{escape(row.caption)}</th>{cells}<td>{real}</td></tr>'


def _picture(png: bytes, said: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(said, quote=True)}" src="data:image/png;base64,{data}">'


def _numbers(facts: Facts) -> str:
    tables = "\n".join(_number_table(facts, guidance) for guidance in facts.guidances)
    return f"""<section id="numbers">
<h2>The numbers</h2>
<p class="note">Measured on the {facts.held_out} held-out captions, with 95% bootstrap intervals over captions
and sampling seeds. The best value is bold; where intervals overlap, the difference may be chance.</p>
{tables}
</section>"""


def _number_table(facts: Facts, guidance: float) -> str:
    heads = "".join(
        f'<th scope="col" class="{each.role}">{escape(each.label)}</th>' for each in facts.columns
    )
    keys = {facts.key(measure, guidance): measure for measure in MEASURES}
    rows = "\n".join(
        _number_row(measure, key, facts.columns)
        for key, measure in keys.items()
        if any(key in column.measured for column in facts.columns)
    )
    title = "Drawn without guidance" if guidance == 1 else f"Drawn with guidance {guidance:g}"
    return f"""<h3>{title}</h3>
<table class="numbers">
<thead><tr><th scope="col"></th>{heads}<th></th></tr></thead>
<tbody>
{rows}
</tbody>
</table>"""


def _number_row(measure: Measure, key: str, columns: tuple[Column, ...]) -> str:
    measured = {column.label: column.measured[key] for column in columns if key in column.measured}
    choose = min if measure.better == "lower" else max
    best = measure.shown(choose(interval.value for interval in measured.values()))
    cells = []
    for column in columns:
        interval = measured.get(column.label)
        if interval is None:
            cells.append(
                f'<td data-model="{escape(column.label)}"><span class="none">not measured</span></td>'
            )
            continue
        mark = ' class="best"' if measure.shown(interval.value) == best else ""
        low, high = measure.shown(interval.low), measure.shown(interval.high)
        cells.append(
            f'<td{mark} data-model="{escape(column.label, quote=True)}">'
            f"<span>{measure.shown(interval.value)}</span><small>{low} to {high}</small></td>"
        )
    strip = interval_strip(
        measure, [(each.label, each.role, measured[each.label]) for each in columns if each.label in measured]
    )
    meaning = f"{measure.meaning} {measure.better.capitalize()} is better."
    head = f"{escape(measure.title)}<small>{escape(meaning)}</small>"
    return f'<tr><th scope="row">{head}</th>{"".join(cells)}<td class="strip">{strip}</td></tr>'


def _training(charts: tuple[Chart, ...]) -> str:
    figures = "\n".join(
        f"<figure><figcaption><h3>{escape(chart.title)}</h3>{escape(chart.note)}{_legend(chart)}</figcaption>"
        f"{line_chart(chart)}</figure>"
        for chart in charts
    )
    return f"""<section id="training">
<h2>The training</h2>
<p class="note">Over optimiser steps. What was measured is pale; its moving average lies on top.</p>
<div class="charts">
{figures}
</div>
</section>"""


def _legend(chart: Chart) -> str:
    if len(chart.series) < 2:
        return ""
    names = "".join(f'<b class="{each.role}">{escape(each.label)}</b>' for each in chart.series)
    return f' <span class="legend">{names}</span>'


def _cost(facts: Facts) -> str:
    rows = "".join(
        f'<tr><th scope="row" class="{cost.role}">{escape(cost.label)}</th><td>{duration(cost.seconds)}</td>'
        f"<td>{cost.steps}</td><td>{cost.pictures}</td>"
        f"<td>{escape(', '.join(f'{stage} {seconds:.0f} s' for stage, seconds in cost.stages))}</td></tr>"
        for cost in facts.costs
    )
    return f"""<section id="cost">
<h2>The cost</h2>
<p class="note">Seconds from the start of each job to its end, by stage, on one scale.</p>
<div class="bars">{cost_bars(facts.costs)}</div>
<table class="costs">
<thead><tr><th scope="col">Job</th><th scope="col">Time</th><th scope="col">Steps</th>
<th scope="col">Pictures seen</th><th scope="col">Stages</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</section>"""


def _settings(facts: Facts) -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.settings
    )
    return f"""<section id="settings">
<h2>How it was done</h2>
<dl class="settings">{rows}</dl>
<p class="note" style="margin-top: 22px">Draw with the new model:</p>
<pre><code>{escape(facts.command)}</code></pre>
</section>"""
