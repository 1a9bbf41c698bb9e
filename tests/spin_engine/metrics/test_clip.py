"""CLIP score, PickScore and HPSv2 against plain transformers, and who refuses what."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.clip import ClipFeatures, clip_score, human_preference, pick_score
from spin_engine.metrics.pixels import MEAN, STD, to_clip_pixels
from tests.spin_engine.metrics.networks import SIDE, VECTOR, build_clip, build_head, open_clip_names
from tests.tiny import picture

CPU = torch.device("cpu")
CAPTIONS = ["red circle 0", "a caption far too long for this little clip", ""]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks") / "clip"
    build_clip(folder)
    return folder


def pictures() -> list[Image.Image]:
    """One smaller, one wide, one tall."""
    return [picture(0)[1], picture(1)[1].resize((70, 41)), picture(2)[1].resize((33, 90))]


def cosines(folder: Path) -> np.ndarray:
    """Return what plain transformers says."""
    model = CLIPModel.from_pretrained(folder).eval()
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    tokens = CLIPTokenizer.from_pretrained(folder)(
        CAPTIONS, padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )
    pixels = processor(pictures(), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        seen = model(**tokens, pixel_values=pixels)
    return functional.cosine_similarity(seen.image_embeds, seen.text_embeds).double().numpy()


def test_pixels_are_those_of_the_image_processor() -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    assert (tuple(processor.image_mean), tuple(processor.image_std)) == (MEAN, STD)
    theirs = processor(pictures(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(to_clip_pixels(pictures(), SIDE), theirs, atol=1e-5, rtol=0)


def test_clip_score_is_a_hundred_cosines(clip: Path) -> None:
    score = clip_score(MetricChoice(name="clip_score", model=str(clip)), CPU)
    found = score(pictures(), CAPTIONS)
    assert found == pytest.approx(100 * cosines(clip), abs=1e-3)
    assert found.std() > 0.1


def test_pick_score_has_the_scale_of_its_network(clip: Path) -> None:
    score = pick_score(MetricChoice(name="pickscore", model=str(clip), base=str(clip)), CPU)
    assert score(pictures(), CAPTIONS) == pytest.approx(math.exp(2.5) * cosines(clip), abs=1e-4)


@pytest.mark.parametrize("names", ["open_clip", "transformers"])
def test_human_preference_score_is_the_cosine(clip: Path, tmp_path: Path, names: str) -> None:
    model = CLIPModel.from_pretrained(clip)
    weights = open_clip_names(model) if names == "open_clip" else model.state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "model.safetensors")
    score = human_preference(MetricChoice(name="hpsv2.1", model=str(tmp_path), base=str(clip)), CPU)
    assert score(pictures(), CAPTIONS) == pytest.approx(cosines(clip), abs=1e-5)


def test_human_preference_score_refuses_other_weights(clip: Path, tmp_path: Path) -> None:
    build_head(tmp_path / "head")
    for extra, reason in (
        ({}, "does not hold the weights"),
        ({"visual.x.y": torch.zeros(1)}, "not a weight"),
    ):
        save_file({"logit_scale": torch.zeros(()), **extra}, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=reason):
            human_preference(MetricChoice(name="hpsv2.0", model=str(tmp_path), base=str(clip)), CPU)


@pytest.mark.parametrize("kind", ["whole", "vision"])
def test_features_are_the_projected_vectors(clip: Path, tmp_path: Path, kind: str) -> None:
    """Of a whole CLIP, or of a folder with its vision part alone."""
    model = CLIPModel.from_pretrained(clip).eval()
    if kind == "vision":
        vision = CLIPVisionConfig(**model.config.vision_config.to_dict() | {"projection_dim": VECTOR})
        part = CLIPVisionModelWithProjection(vision)
        part.load_state_dict({name: model.state_dict()[name] for name in part.state_dict()})
        part.save_pretrained(tmp_path, safe_serialization=True)
    found = ClipFeatures.load(str(clip if kind == "whole" else tmp_path), None, CPU)(pictures())
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(to_clip_pixels(pictures(), SIDE)).pooler_output)
    assert found == pytest.approx(seen.double().numpy(), abs=1e-6)


def test_many_pictures_are_as_few(clip: Path) -> None:
    score = clip_score(MetricChoice(name="clip_score", model=str(clip)), CPU)
    many = score(pictures() * 15, CAPTIONS * 15)
    assert many == pytest.approx(np.tile(score(pictures(), CAPTIONS), 15), abs=1e-3)


def test_a_pickle_is_not_read(clip: Path, tmp_path: Path) -> None:
    """A folder with the same network as a pickle is refused, and told how to convert it."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((clip / name).read_bytes())
    torch.save(CLIPModel.from_pretrained(clip).state_dict(), tmp_path / "pytorch_model.bin")
    for choose, name in ((clip_score, "clip_score"), (human_preference, "hpsv2.0")):
        choice = MetricChoice.model_validate({"name": name, "model": str(tmp_path)} | based(name, clip))
        with pytest.raises(ValueError, match=r"never pickles .*\n.*weights_only=True"):
            choose(choice, CPU)


def based(name: str, clip: Path) -> dict[str, str]:
    return {} if name == "clip_score" else {"base": str(clip)}


def test_a_network_that_is_not_there_is_refused() -> None:
    for name in ("absent", "./a/b", "/nowhere/at/all"):
        with pytest.raises(ValueError, match="neither a folder nor a hub id"):
            clip_score(MetricChoice(name="clip_score", model=name), CPU)
