"""Measure drawn pictures: what a job's evaluations and the experiments report."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spin_engine.metrics.aesthetic import aesthetic
from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.clip import ClipFeatures, clip_score, human_preference, pick_score
from spin_engine.metrics.distances import frechet_distance, histogram_distance, kernel_distance
from spin_engine.metrics.image_reward import image_reward
from spin_engine.metrics.interval import Interval, interval_of_mean
from spin_engine.metrics.judge import Judge
from spin_engine.metrics.metric import Distance, Features, Score, Values
from spin_engine.metrics.overlap import precision, recall

RETRIEVED = 10
SCORES: dict[str, Callable[[MetricChoice, torch.device], Score]] = {
    "clip_score": clip_score,
    "pickscore": pick_score,
    "hpsv2.0": human_preference,
    "hpsv2.1": human_preference,
    "imagereward": image_reward,
    "aesthetic": aesthetic,
}
DISTANCE: dict[str, Distance] = {
    "fid": frechet_distance,
    "kid": kernel_distance,
    "precision": precision,
    "recall": recall,
}


@dataclass(frozen=True)
class Measured:
    """What came out.

    Attributes:
        values: each metric by name, with its 95% bootstrap interval over captions and their pictures.
        scores: of each metric that says something of a single picture, [N], by name.
    """

    values: dict[str, Interval] = field(default_factory=dict)
    scores: dict[str, Values] = field(default_factory=dict)


@dataclass(frozen=True)
class Pictures:
    """What is measured.

    Attributes:
        drawn: N pictures, N >= 1; several of one caption, from several seeds, are allowed.
        captions: [N], what each was drawn for. Intervals resample captions, and the pictures of a caption
            within it (``interval.resampled_counts``).
        real: pictures of the target, any number; none leaves out the default distances, and is an error for
            those that were asked for.
    """

    drawn: Sequence[Image.Image]
    captions: Sequence[str]
    real: Sequence[Image.Image] = ()

    def __post_init__(self) -> None:
        """Refuse pictures without captions."""
        if not len(self.drawn) or len(self.drawn) != len(self.captions):
            raise ValueError(f"{len(self.drawn)} pictures for {len(self.captions)} captions")


def evaluate(
    pictures: Pictures,
    judge: Path | None,
    *,
    seed: int,
    metrics: tuple[MetricChoice, ...] | None = None,
    device: torch.device | str = "cpu",
) -> Measured:
    """Measure pictures with one network in memory at a time.

    ``style_share``: share of drawn pictures that the judge takes for its target style; higher is better.
    ``frechet_distance``: of judge features to those of ``real``; lower is better. Biased by the number of
        pictures: compare equal numbers only.
    ``retrieval_at_10``: share of pictures whose caption is among the ten that the judge finds closest, of all
        the captions it knows; higher is better. Pictures whose caption it does not know are left out.
    ``caption_cosine``: mean cosine of picture and caption in the judge's space, for the same pictures;
        higher is better. This and retrieval are the metrics that self-play is known to lower.
    ``histogram_distance``: total variation of the pooled colours of ``drawn`` and ``real``, in [0, 1]; lower
        is better.
    The others go by their names in ``choice``; docs/metrics.md says what each is.

    Args:
        pictures: what is measured.
        judge: folder of a judge (``spindle/judge`` of a model); None leaves out what needs one.
        seed: of the bootstrap resamples; the values themselves do not depend on it.
        metrics: which, in order; None: what the judge says, and the histogram distance, as far as there is
            something to measure with.
        device: where the networks run, but for the judge, which is small.

    Raises:
        ValueError: a network cannot be read, or a metric was asked for that lacks a judge or real pictures.
    """
    if metrics is None:
        wanted = ["histogram_distance"] * bool(pictures.real) + ["judge"] * (judge is not None)
        metrics = tuple(MetricChoice.model_validate(name) for name in wanted)
    found = Measured()
    sets = _Sets(pictures, judge, torch.device(device))
    for choice in metrics:
        _measure(choice, pictures, judge, sets, found, seed)
        _forget()
    return found


def _measure(
    choice: MetricChoice,
    pictures: Pictures,
    judge: Path | None,
    sets: "_Sets",
    found: Measured,
    seed: int,
) -> None:
    """Add one metric to ``found``."""
    name = choice.name
    if name == "judge":
        if judge is None:
            raise ValueError("the metric judge needs a base model that carries one (spindle/judge)")
        found.values.update(_judged(Judge.load(judge), pictures, seed))
    elif name == "histogram_distance":
        found.values[name] = histogram_distance(pictures.drawn, pictures.captions, pictures.real, seed=seed)
    elif name in DISTANCE:
        drawn, real = sets.of(choice)
        found.values[name] = DISTANCE[name](drawn, pictures.captions, real, seed=seed)
    else:
        score = SCORES[name](choice, sets.device)
        found.scores[name] = score(pictures.drawn, pictures.captions)
        found.values[name] = interval_of_mean(found.scores[name], pictures.captions, seed=seed)


class _Sets:
    """The features of drawn and real pictures; those of the network used last are kept."""

    def __init__(self, pictures: Pictures, judge: Path | None, device: torch.device) -> None:
        """Compute nothing yet."""
        self._pictures, self._judge, self.device = pictures, judge, device
        self._of: tuple[str | None, str | None] | None = None
        self._features: tuple[Values, Values] | None = None

    def of(self, choice: MetricChoice) -> tuple[Values, Values]:
        """Return the features [N, F] of the drawn and [M, F] of the real pictures."""
        if not len(self._pictures.real):
            raise ValueError(f"{choice.name} compares with real pictures, and there are none")
        wanted = choice.network, choice.revision
        if self._features is None or self._of != wanted:
            features = self._network(choice)
            self._features = features(self._pictures.drawn), features(self._pictures.real)
            self._of = wanted
        return self._features

    def _network(self, choice: MetricChoice) -> Features:
        if choice.network is not None:
            return ClipFeatures.load(choice.network, choice.revision, self.device)
        if self._judge is None:
            raise ValueError(f"{choice.name} needs a model, or a base model that carries a judge")
        judge = Judge.load(self._judge)
        return lambda pictures: _float(judge.look(pictures).features)


def _judged(judge: Judge, pictures: Pictures, seed: int) -> dict[str, Interval]:
    drawn, captions, real = pictures.drawn, pictures.captions, pictures.real
    opinion = judge.look(drawn)
    target = judge.config.styles.index(judge.config.target_style)
    styled = _float(opinion.style.argmax(dim=1) == target)
    found = {"style_share": interval_of_mean(styled, captions, seed=seed)}
    if len(drawn) > 1 and len(real) > 1:
        features = _float(judge.look(real).features)
        found["frechet_distance"] = frechet_distance(_float(opinion.features), captions, features, seed=seed)
    known = {caption: index for index, caption in enumerate(judge.config.captions)}
    rows = [row for row, caption in enumerate(captions) if caption in known]
    if rows:
        cosines, heard = opinion.captions[rows], [captions[row] for row in rows]
        own = cosines.gather(1, torch.tensor([[known[caption]] for caption in heard]))
        closer = (cosines > own).sum(dim=1)
        found["retrieval_at_10"] = interval_of_mean(_float(closer < RETRIEVED), heard, seed=seed)
        found["caption_cosine"] = interval_of_mean(_float(own[:, 0]), heard, seed=seed)
    return found


def _forget() -> None:
    """Give the memory of a network that is no longer used back to its device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _float(values: torch.Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
