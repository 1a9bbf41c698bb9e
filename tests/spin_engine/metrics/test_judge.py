"""The judge's network and its folder."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from spin_engine.metrics.judge import Judge, JudgeConfig, to_pixels
from tests.tiny import COLOURS, picture

CONFIG = JudgeConfig(("dark", "light"), ("circle", "square", "triangle"), COLOURS, "light")


def untrained(config: JudgeConfig = CONFIG) -> Judge:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Judge(config).eval()


def test_an_opinion_has_a_row_a_picture() -> None:
    opinion = untrained().look([picture(index)[1] for index in range(5)])
    assert opinion.features.shape == (5, 64)
    assert opinion.style.shape == (5, 2)
    assert opinion.category.shape == (5, 3)
    assert opinion.captions.shape == (5, 6)
    assert float(opinion.captions.abs().max()) <= 1 + 1e-6


def test_a_picture_is_judged_alike_in_any_company() -> None:
    judge = untrained()
    pictures = [picture(index)[1] for index in range(70)]
    together, alone = judge.look(pictures), judge.look(pictures[69:])
    torch.testing.assert_close(together.features[69:], alone.features)


def test_save_and_load_give_the_same_opinion(tmp_path: Path) -> None:
    """Up to the half precision of the file; what was loaded once is saved and loaded bit for bit."""
    judge = untrained()
    judge.save(tmp_path / "judge")
    assert sorted(path.name for path in (tmp_path / "judge").iterdir()) == ["judge.json", "judge.safetensors"]
    loaded = Judge.load(tmp_path / "judge")
    assert loaded.config == CONFIG
    pictures = [picture(index)[1] for index in range(3)]
    opinion = loaded.look(pictures).captions
    torch.testing.assert_close(opinion, judge.look(pictures).captions, atol=1e-3, rtol=0)
    loaded.save(tmp_path / "again")
    assert torch.equal(Judge.load(tmp_path / "again").look(pictures).captions, opinion)


def test_is_small() -> None:
    captions = tuple(str(index) for index in range(472))
    judge = untrained(JudgeConfig(("a", "b", "c", "d"), ("x", "y", "z"), captions, "a"))
    assert sum(value.numel() for value in judge.parameters()) < 1_500_000


def test_learns_colours_and_shapes() -> None:
    rows = [picture(index) for index in range(36)]
    pixels = to_pixels([image for _, image in rows], 64)
    colour = torch.tensor([COLOURS.index(caption.split()[0]) for caption, _ in rows])
    shape = torch.tensor([CONFIG.categories.index(caption.split()[1]) for caption, _ in rows])
    judge = untrained()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    for module in judge.modules():
        module.train(not isinstance(module, torch.nn.Dropout))
    for _ in range(20):
        opinion = judge(pixels)
        loss = functional.cross_entropy(opinion.category, shape)
        loss = loss + functional.cross_entropy(opinion.captions / 0.07, colour)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    opinion = judge(pixels)
    assert (opinion.captions.argmax(1) == colour).float().mean() > 0.9
    assert (opinion.category.argmax(1) == shape).float().mean() > 0.7


def test_transparency_is_white_paper() -> None:
    clear = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    assert (to_pixels([clear], 8) == 1).all()
    black = to_pixels([Image.new("L", (10, 10), 0)], 8)
    assert black.shape == (1, 3, 8, 8)
    assert (black == -1).all()


def test_refuses_a_target_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="target_style 'oil' is not one of"):
        JudgeConfig(("dark", "light"), ("thing",), ("apple",), "oil")


def test_refuses_a_file_that_describes_no_judge(tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_text(json.dumps({"styles": ["dark"]}))
    with pytest.raises(ValueError, match="does not describe a judge"):
        Judge.load(tmp_path)


def test_refuses_to_look_at_nothing() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        untrained().look([])
