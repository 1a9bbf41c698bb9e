import base64
import dataclasses
import hashlib
import html
import io
import json
import math
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from core.report.chart import interval_strip, iteration_chart, label, line_chart, nice_ticks, smooth, split
from core.report.facts import Facts, Interval, Picture, Row, Series
from core.report.measures import MEASURES
from core.report.page import POLICY, render
from core.report.verdict import judge
from core.storage.folder import FolderStore
from tests.core.report.sample_facts import CAPTIONS, picture, pictures, sample


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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """A store that holds the pictures of the sample."""
    return pictures(tmp_path_factory.mktemp("pictures"))


def page_of(facts: Facts, store: FolderStore) -> str:
    """Return the report of facts whose pictures lie in a store."""
    return "".join(render(facts, store=store, dataset=None))


def with_spin(**measured: Interval) -> Facts:
    facts = sample()
    *others, spin = facts.columns
    changed = dataclasses.replace(spin, measured=spin.measured | measured)
    return dataclasses.replace(facts, columns=(*others, changed))


def test_the_report_is_whole_in_itself(store: FolderStore) -> None:
    page = page_of(sample(), store)
    reader = Reader(page)
    assert all(address.startswith("data:") for address in reader.addresses)
    assert "script" not in reader.tags
    assert "http:" not in page
    assert "https:" not in page
    assert " style=" not in page
    assert POLICY.replace("'", "&#39;") in page
    assert "@import" not in page
    assert "url(" not in page


def test_the_policy_lets_the_style_in_and_nothing_else(store: FolderStore) -> None:
    style = page_of(sample(), store).partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert POLICY.startswith(f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'")


def test_every_row_has_the_pictures_of_all_models(store: FolderStore) -> None:
    reader = Reader(page_of(sample(), store))
    drawn = [picture(29 * index, blur) for index in range(len(CAPTIONS)) for blur in (6, 4, 2, 1)]
    assert reader.pictures == drawn
    assert all(caption in reader.text for caption in CAPTIONS)


def test_a_picture_that_cannot_be_had_is_said_to_be_missing(store: FolderStore) -> None:
    facts = sample()
    gone = (Picture("/x", "not/there"), None, *facts.rows[0].pictures[2:])
    row = Row(0, CAPTIONS[0], 7, gone)
    reader = Reader(page_of(dataclasses.replace(facts, rows=(row,)), store))
    assert len(reader.pictures) == 2
    assert reader.text.count("not drawn") == 2


def test_large_pictures_are_made_smaller(store: FolderStore) -> None:
    large = io.BytesIO()
    Image.new("RGB", (1024, 512), "red").save(large, "PNG")
    store.put("large", io.BytesIO(large.getvalue()), None)
    facts = sample()
    row = Row(0, CAPTIONS[0], 7, (Picture("/x", "large"), None, None, None))
    page = "".join(render(dataclasses.replace(facts, rows=(row,)), store=store, dataset=None))
    [data] = Reader(page).pictures
    with Image.open(io.BytesIO(data)) as found:
        assert (found.format, found.size) == ("WEBP", (384, 192))


def test_the_figures_appear_as_they_were_given(store: FolderStore) -> None:
    text = Reader(page_of(sample(), store)).text
    assert "27.6 24.8 to 30.4 12.5 11.2 to 13.8 6.9 6.2 to 7.6 5.1 4.6 to 5.6" in text
    assert "0.23 0.21 to 0.25" in text
    assert "On 64 held-out captions, after 400 optimiser steps each, SPIN 2 is" in text
    assert "4 min 36 s 400 25600 encode 9 s, train 240 s, evaluate 22 s, publish 5 s" in text
    assert "time 6 min 28 s, 6 min 40 s estimated" in text
    assert 'spindle generate ft:starter:spin:a1b2c3 "baby chick"' in text
    assert "learning rate SFT 0.0003 · SPIN 0.0001, 5e-05" in text


def test_a_caption_cannot_break_the_page(store: FolderStore) -> None:
    facts = sample()
    row = dataclasses.replace(facts.rows[0], prompt='<img src=x onerror="alert(1)"> & "co"')
    reader = Reader(page_of(dataclasses.replace(facts, rows=(row,)), store))
    assert len(reader.pictures) == 4
    assert row.prompt in reader.text


def test_steps_are_called_equal_only_when_they_were_made() -> None:
    facts = sample()
    running = dataclasses.replace(facts.own, state="running", finished_at=None)
    assert "optimiser steps each" in judge(facts).sentence
    assert "optimiser steps each" not in judge(dataclasses.replace(facts, own=running)).sentence


def test_models_of_which_there_is_nothing_yet_are_left_out(store: FolderStore) -> None:
    facts = sample()
    bare = dataclasses.replace(facts.columns[3], measured={})
    rows = tuple(dataclasses.replace(row, pictures=(*row.pictures[:3], None)) for row in facts.rows)
    page = page_of(dataclasses.replace(facts, columns=(*facts.columns[:3], bare), rows=rows), store)
    assert "SPIN 1" in page
    assert "SPIN 2" not in page


def test_what_was_not_measured_is_said_and_not_guessed(store: FolderStore) -> None:
    facts = sample()
    bare = dataclasses.replace(facts.columns[2], measured={})
    changed = dataclasses.replace(facts, columns=(*facts.columns[:2], bare, facts.columns[3]))
    text = Reader(page_of(changed, store)).text
    assert text.count("not measured") == 5


def test_a_failed_job_says_why_and_what_to_do(store: FolderStore) -> None:
    facts = alone(state="failed", measured=False)
    verdict = judge(facts)
    assert verdict.headline == "It failed: memory ran out"
    assert verdict.sentence == "12 GB were asked for. Set a smaller micro_batch_size."
    text = Reader(page_of(facts, store)).text
    assert "Memory ran out. 12 GB were asked for. Set a smaller micro_batch_size." in text


def alone(*, state: str = "succeeded", measured: bool = True) -> Facts:
    """Return the facts of the self-play job for itself."""
    facts = sample()
    failed = {
        "failure": {"reason": "out_of_memory", "message": "12 GB were asked for."},
        "why": "Memory ran out",
        "message": "12 GB were asked for.",
        "what_to_do": "Set a smaller micro_batch_size.",
    }
    own = dataclasses.replace(facts.own, state=state, **(failed if state == "failed" else {}))
    if state in ("running", "queued"):
        own = dataclasses.replace(own, finished_at=None)
    columns = [each for each in facts.columns if each.role != "other"]
    if not measured:
        columns = [
            each if each.role == "base" else dataclasses.replace(each, measured={}) for each in columns
        ]
    rows = tuple(
        dataclasses.replace(row, pictures=(row.pictures[0], *row.pictures[2:])) for row in facts.rows
    )
    return dataclasses.replace(
        facts, own=own, other=None, columns=tuple(columns), costs=facts.costs[1:], rows=rows
    )


def test_a_job_alone_is_compared_with_its_base_and_with_the_iteration_before() -> None:
    verdict = judge(alone())
    assert verdict.headline == "Better than its base model"
    assert verdict.sentence == (
        "On 64 held-out captions, SPIN 2 is clearly better than the base model in Fréchet distance "
        "(5.1 against 27.6), style (0.46 against 0.09) and colour distance (0.21 against 0.48), not clearly "
        "different in captions found (0.24 against 0.27) and caption likeness (0.35 against 0.33). "
        "It is clearly better than SPIN 1 in Fréchet distance (5.1 against 6.9)."
    )


def test_a_job_that_runs_is_judged_so_far() -> None:
    assert judge(alone(state="running")).headline == "SPIN 2 so far: better than its base model"
    waiting = judge(alone(state="queued", measured=False))
    assert (waiting.headline, waiting.sentence) == ("It waits for a worker", "Nothing is trained yet.")


def test_what_failed_late_keeps_what_it_measured() -> None:
    verdict = judge(alone(state="failed"))
    assert verdict.headline == "Better than its base model"
    assert verdict.sentence.endswith(" Then it failed: memory ran out.")


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


def test_each_guidance_is_judged_and_shown_apart(store: FolderStore) -> None:
    facts = sample()
    at_two = {"other": Interval(4.4, 4.0, 4.8), "own": Interval(4.6, 4.2, 5.0), "base": Interval(30, 29, 31)}
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
    text = Reader(page_of(both, store)).text
    assert text.index("Drawn without guidance") < text.index("Drawn with guidance 2")
    assert "4.4 4.0 to 4.8 4.6 4.2 to 5.0" in text


def test_without_measures_there_is_no_verdict() -> None:
    facts = sample()
    bare = tuple(dataclasses.replace(column, measured={}) for column in facts.columns)
    assert judge(dataclasses.replace(facts, columns=bare)).headline == "Nothing was measured"


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
    series = Series("SPIN", "own", tuple((float(x), math.log(2), 0.6, 0.8) for x in range(1, 7)))
    assert [part.points[-1][0] for part in split(series, [2.0, 4.0])] == [2, 4, 6]
    assert [len(part.points) for part in split(series, [])] == [6]


def test_the_strip_says_its_values_to_those_who_cannot_see_it() -> None:
    columns = sample().columns
    strip = interval_strip(
        MEASURES[0], [(each.label, each.role, each.measured["frechet_distance"]) for each in columns]
    )
    assert 'aria-label="Fréchet distance: Base 27.6, SFT 12.5, SPIN 1 6.9, SPIN 2 5.1"' in strip
    assert strip.count("<circle") == 4


def test_a_chart_for_a_script_carries_its_numbers_and_breaks_nothing() -> None:
    chart = dataclasses.replace(sample().charts[1], title='A "loss" & more')
    drawn = line_chart(chart, readable=True)
    [told] = re.findall(r'data-chart="([^"]*)"', drawn)
    numbers = json.loads(html.unescape(told))
    assert numbers["lines"][0]["points"][0][0] == 2.0
    assert numbers["end"] == 400
    assert 'aria-label="A &quot;loss&quot; &amp; more: ' in drawn
    assert "data-chart" not in line_chart(chart)


def test_a_measure_is_drawn_with_its_intervals_iteration_by_iteration() -> None:
    drawn = iteration_chart(sample(), MEASURES[0], 1.0)
    assert drawn.count('<circle class="dot') == 4
    assert "<title>SPIN 2: 5.1, 4.6 to 5.6</title>" in drawn
    assert iteration_chart(sample(), MEASURES[5], 1.0) == '<p class="none">Not measured yet.</p>'
