import base64
import dataclasses
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from spindle.demo.chart import interval_strip, label, nice_ticks, smooth, split
from spindle.demo.facts import MEASURES, Column, Facts, Interval, Series
from spindle.demo.page import render
from spindle.demo.sheet import draw
from spindle.demo.verdict import judge
from tests.spindle.sample_facts import CAPTIONS, sample


class Reader(HTMLParser):
    """Reads what a page refers to, its pictures, its text, and whether its tags close in order."""

    void = frozenset({"meta", "link", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.pictures: list[bytes] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        """What is read, with single spaces."""
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and what it refers to."""
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "action", "data", "xlink:href"}:
                self.addresses.append(value or "")
        if tag == "img":
            self.pictures.append(base64.b64decode((dict(attrs)["src"] or "").partition(",")[2]))
        if tag not in self.void:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        """Note a tag that holds nothing."""
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that it closes the last one opened."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.words.append(data)


def with_spin(**measured: Interval) -> Facts:
    facts = sample()
    *others, spin = facts.columns
    changed = dataclasses.replace(spin, measured=spin.measured | measured)
    return dataclasses.replace(facts, columns=(*others, changed))


def test_the_report_is_whole_in_itself() -> None:
    page = render(sample())
    reader = Reader(page)
    assert all(address.startswith("data:") for address in reader.addresses)
    assert "script" not in reader.tags
    assert "http" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_every_row_has_the_pictures_of_all_models_and_the_real_one() -> None:
    facts = sample()
    reader = Reader(render(facts))
    assert reader.pictures == [png for row in facts.rows for png in (*row.drawn, row.real)]
    assert all(caption in reader.text for caption in CAPTIONS)


def test_the_figures_appear_as_they_were_given() -> None:
    text = Reader(render(sample())).text
    assert "27.6 24.8 to 30.4 12.5 11.2 to 13.8 6.9 6.2 to 7.6 5.1 4.6 to 5.6" in text
    assert "0.23 0.21 to 0.25" in text
    assert "On 64 held-out captions, after 400 optimiser steps each, SPIN 2 is" in text
    assert "4 min 36 s 400 25600 encode 9 s, train 240 s, evaluate 22 s, publish 5 s" in text
    assert 'spindle generate --state build/demo-state ft:starter:spin:d4e5f6 "red apple"' in text
    assert "Learning rate, SPIN [0.0001, 0.00005]" in text


def test_a_caption_cannot_break_the_page() -> None:
    facts = sample()
    row = dataclasses.replace(facts.rows[0], caption='<img src=x onerror="alert(1)"> & "co"')
    reader = Reader(render(dataclasses.replace(facts, rows=(row,))))
    assert len(reader.pictures) == 5
    assert row.caption in reader.text


def test_what_was_not_measured_is_said_and_not_guessed() -> None:
    facts = sample()
    bare = dataclasses.replace(facts.columns[2], measured={})
    text = Reader(
        render(dataclasses.replace(facts, columns=(*facts.columns[:2], bare, facts.columns[3])))
    ).text
    assert text.count("not measured") == len(MEASURES)


def test_gains_and_losses_are_both_told() -> None:
    verdict = judge(sample())
    assert verdict.headline == "Self-play gains in some respects, and gives up in others"
    assert verdict.sentence == (
        "On 64 held-out captions, after 400 optimiser steps each, SPIN 2 is clearly better than SFT in "
        "Fréchet distance (5.1 against 12.5), style (0.46 against 0.23) and colour distance "
        "(0.21 against 0.37), clearly worse in captions found (0.24 against 0.30), "
        "not clearly different in caption likeness (0.35 against 0.36)."
    )


def test_only_gains_is_a_win() -> None:
    verdict = judge(with_spin(retrieval_at_10=Interval(0.3, 0.27, 0.33)))
    assert verdict.headline == "Self-play beats supervised fine-tuning"


def test_a_loss_is_called_one() -> None:
    worse = {
        "frechet_distance": Interval(20, 19, 21),
        "style_share": Interval(0.1, 0.09, 0.11),
        "histogram_distance": Interval(0.5, 0.45, 0.55),
        "retrieval_at_10": Interval(0.3, 0.27, 0.33),
    }
    verdict = judge(with_spin(**worse))
    assert verdict.headline == "Self-play does not beat supervised fine-tuning"
    assert "clearly worse than SFT in Fréchet distance (20.0 against 12.5)" in verdict.sentence


def test_overlapping_intervals_are_no_victory() -> None:
    sft = sample().columns[1].measured
    better = {name: Interval(each.value * 0.97, each.low, each.high) for name, each in sft.items()}
    verdict = judge(with_spin(**better))
    assert verdict.headline == "No clear difference between self-play and supervised fine-tuning"
    assert "SPIN 2 is not clearly different from SFT in" in verdict.sentence


def test_unequal_budgets_are_not_called_equal() -> None:
    facts = sample()
    costs = (facts.costs[0], dataclasses.replace(facts.costs[1], steps=500))
    assert "optimiser steps each" not in judge(dataclasses.replace(facts, costs=costs)).sentence


def test_each_guidance_is_judged_and_shown_apart() -> None:
    facts = sample()
    at_two = {"sft": Interval(4.4, 4.0, 4.8), "spin": Interval(4.6, 4.2, 5.0), "base": Interval(30, 29, 31)}
    columns = tuple(
        dataclasses.replace(each, measured=each.measured | {"frechet_distance@2": at_two[each.role]})
        for each in facts.columns
    )
    both = dataclasses.replace(facts, columns=columns, guidances=(1.0, 2.0))
    sentence = judge(both).sentence
    assert (
        "SPIN 2 is at guidance 1 clearly better than SFT in Fréchet distance (5.1 against 12.5)" in sentence
    )
    assert "; at guidance 2 not clearly different from SFT in Fréchet distance (4.6 against 4.4)." in sentence
    assert sentence.endswith(
        " Each at its better guidance: Fréchet distance of SPIN 2 4.6 at 2 and of SFT 4.4 at 2."
    )
    text = Reader(render(both)).text
    assert text.index("Drawn without guidance") < text.index("Drawn with guidance 2")
    assert "4.4 4.0 to 4.8 4.6 4.2 to 5.0" in text


def test_without_measures_there_is_no_verdict() -> None:
    facts = sample()
    bare = tuple(dataclasses.replace(column, measured={}) for column in facts.columns)
    assert judge(dataclasses.replace(facts, columns=bare)).headline == "Nothing was measured"


def test_the_sheet_shows_each_picture_in_its_place(tmp_path: Path) -> None:
    facts = sample()
    draw(facts, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 40 + 230 + 5 * 142 - 14, 2 * 40 + 76 + 12 * 142 - 14)
        real = sheet.getpixel((40 + 230 + 4 * 142 + 64, 40 + 76 + 64 + 30))
    assert isinstance(real, tuple)
    assert real[0] > 200 > real[1]  # the first disc is red


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 400, [0, 100, 200, 300, 400]),
        (0.31, 0.69, [0.3, 0.4, 0.5, 0.6, 0.7]),
        (-0.02, 0.1, [-0.05, 0, 0.05, 0.1]),
        (5, 5, [4, 6]),
    ],
)
def test_ticks_are_round_and_span_the_values(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    if low != high:
        assert found == pytest.approx(ticks)


def test_tick_labels_are_short() -> None:
    assert [label(value) for value in (0, 0.05, 400, 2e-5, 1.5e6)] == ["0", "0.05", "400", "2e-05", "2e+06"]


def test_smoothing_keeps_a_constant_and_has_no_pull_to_zero() -> None:
    assert [y for _, y in smooth([(float(x), 3.0) for x in range(5)])] == pytest.approx([3.0] * 5)


def test_an_average_does_not_reach_over_the_start_of_an_iteration() -> None:
    series = Series("SPIN", "spin", tuple((float(x), math.log(2)) for x in range(1, 7)))
    assert [part.points[-1][0] for part in split(series, [2.0, 4.0])] == [2, 4, 6]
    assert [len(part.points) for part in split(series, [])] == [6]


def test_the_strip_says_its_values_to_those_who_cannot_see_it() -> None:
    columns: tuple[Column, ...] = sample().columns
    strip = interval_strip(
        MEASURES[0], [(each.label, each.role, each.measured["frechet_distance"]) for each in columns]
    )
    assert 'aria-label="Fréchet distance: Base 27.6, SFT 12.5, SPIN 1 6.9, SPIN 2 5.1"' in strip
    assert strip.count("<circle") == 4
