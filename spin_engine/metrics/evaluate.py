"""Measure drawn pictures: what a job's evaluations and the experiments report."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spin_engine.metrics.distances import frechet_distance, histogram_distance
from spin_engine.metrics.interval import Interval, interval_of_mean
from spin_engine.metrics.judge import Judge

RETRIEVED = 10


def evaluate(
    drawn: list[Image.Image],
    captions: list[str],
    real: list[Image.Image] | None,
    judge: Path | None,
    *,
    seed: int,
) -> dict[str, Interval]:
    """Return every metric that can be measured, by name, each with a 95% bootstrap interval.

    ``style_share``: share of drawn pictures that the judge takes for its target style; higher is better.
    ``frechet_distance``: of judge features to those of ``real``; lower is better. Biased by the number of
        pictures: compare equal numbers only.
    ``retrieval_at_10``: share of pictures whose caption is among the ten that the judge finds closest, of all
        the captions it knows; higher is better. Pictures whose caption it does not know are left out.
    ``caption_cosine``: mean cosine of picture and caption in the judge's space, for the same pictures;
        higher is better. This and retrieval are the metrics that self-play is known to lower.
    ``histogram_distance``: total variation of the pooled colours of ``drawn`` and ``real``, in [0, 1]; lower
        is better.

    Args:
        drawn: N pictures, N >= 1; several of one caption, from several seeds, are allowed.
        captions: [N], what each was drawn for. Intervals resample captions, and the pictures of a caption
            within it (``interval.resampled_counts``).
        real: pictures of the target, any number; None leaves out the distances.
        judge: folder of a judge (``spindle/judge`` of a model); None leaves out what needs one.
        seed: of the bootstrap resamples; the values themselves do not depend on it.
    """
    if not drawn or len(drawn) != len(captions):
        raise ValueError(f"{len(drawn)} pictures for {len(captions)} captions")
    found = {}
    if real:
        found["histogram_distance"] = histogram_distance(drawn, captions, real, seed=seed)
    if judge is not None:
        found |= _judged(Judge.load(judge), drawn, captions, real or [], seed)
    return found


def _judged(
    judge: Judge, drawn: list[Image.Image], captions: list[str], real: list[Image.Image], seed: int
) -> dict[str, Interval]:
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


def _float(values: torch.Tensor) -> np.ndarray:
    return values.double().numpy()
