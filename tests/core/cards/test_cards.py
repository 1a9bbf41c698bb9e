"""Cards: somebody's words stay words, licences come from where they are told, pictures are linked."""

from pathlib import Path

import pytest
import yaml

from core.cards.facts import Data, Facts, Measured, Origin, Training, licence_in
from core.cards.markdown import text, write
from core.cards.previews import Shown
from core.sources import SourceFile

SHOWN = Shown(-1, SourceFile("start.png", "k", "0" * 64, 1))


def facts(**changes: object) -> Facts:
    training = Training(
        job="ftjob-1",
        started_from="starter",
        method="sft",
        hyperparameters={"adapter": "lora", "steps": [1, 2]},
        seed=7,
        iteration=None,
        step=None,
        data=(Data("training", "ds-1", "cats | <b>dogs</b>", 2, 1234, "a" * 64),),
        data_licence=None,
        metrics=(Measured(-1, "style", 0.25, 0.125, 0.5), Measured(1, "style", None, None, None)),
        previews=(SHOWN,),
        versions={"torch": "2.13.0"},
        request={"model": "starter", "method": {"type": "sft"}},
    )
    told = {
        "id": "ft:starter:cats:1",
        "kind": "result",
        "created": 0,
        "base_model": "starter",
        "base_licence": "mit",
        "digest": "d",
        "registered": ("cat@1",),
        "training": training,
        "origin": None,
        "adapter": False,
        "lineage": ({"type": "model", "id": "ft:starter:cats:1"},),
    }
    return Facts(**told | changes)  # type: ignore[arg-type]  # the fields of Facts


def card(found: Facts) -> tuple[dict[str, object], str]:
    _, matter, body = write(found, link=lambda each: f"previews/{each.filename}").split("---\n", 2)
    return yaml.safe_load(matter), body


def test_a_card_says_what_is_known_and_that_the_rest_is_not() -> None:
    matter, body = card(facts())
    assert (matter["license"], matter["datasets"]) == ("mit", ["cats | <b>dogs</b>"])
    assert "| training | cats \\| &lt;b&gt;dogs&lt;/b&gt; v2 | 1,234 |" in body
    assert "| `style` | 0.25 (0.125 to 0.5) | - |" in body
    assert "![start](previews/start.png)" in body
    assert "| torch | 2.13.0 |" in body
    assert "Licence of the data: not told." in body
    assert "Registered as `cat@1`." in body
    assert "model-index" not in matter


def test_an_import_tells_its_own_licence() -> None:
    found = facts(
        kind="imported",
        training=None,
        origin=Origin("cc-by-4.0", "by *hand*", {"kind": "lora"}),
        adapter=True,
    )
    matter, body = card(found)
    assert (matter["license"], matter["base_model_relation"]) == ("cc-by-4.0", "adapter")
    assert "Base model: mit. This model: cc-by-4.0." in body
    assert "by \\*hand\\*" in body
    assert "How to reproduce" not in body
    assert found.as_json()["licence"] == "cc-by-4.0"


def test_words_are_one_line_without_a_meaning() -> None:
    assert text("a\n# b | [c](d) `e`") == "a \\# b \\| \\[c\\](d) \\`e\\`"


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: openrail++\n---\n# x", "openrail++"),
        ("---\nlicense: [mit]\n---\n", None),
        ("---\n- a\n---\n", None),
        ("---\n{{{\n---\n", None),
        ("---", None),
        ("# no front matter", None),
        (None, None),
    ],
)
def test_the_licence_of_a_base_is_in_its_own_card(
    tmp_path: Path, readme: str | None, licence: str | None
) -> None:
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    assert licence_in(tmp_path) == licence
