"""Distances between two sets of pictures: Frechet on features, total variation on colours."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spin_engine.metrics.interval import Interval, centred, resampled_counts

LEVELS = 8


def frechet_distance(
    drawn: NDArray[np.float64], captions: Sequence[str], real: NDArray[np.float64], *, seed: int
) -> Interval:
    """Return the squared Frechet distance of Gaussians fitted to two sets of features.

    d^2 = |mu_d - mu_r|^2 + tr(S_d + S_r - 2 (S_r^1/2 S_d S_r^1/2)^1/2)  (arXiv 1706.08500, Eq. 6)

    Biased upwards for few pictures, roughly as 1/N: compare only values of equal N and of the same judge.
    The interval is over ``drawn``, with ``real`` fixed, centred on the value (see ``interval.centred``).

    Args:
        drawn: [N, features], N >= 2.
        captions: [N], what each was drawn for.
        real: [M, features], M >= 2.
        seed: of the resamples.
    """
    if min(len(drawn), len(real)) < 2:
        raise ValueError("the Frechet distance needs two pictures on each side")
    mean_real = real.mean(axis=0)
    covariance_real = np.cov(real, rowvar=False)
    weights, vectors = np.linalg.eigh(covariance_real)
    root_real = (vectors * np.sqrt(weights.clip(min=0))) @ vectors.T
    counts = np.vstack([np.ones(len(drawn)), resampled_counts(captions, seed=seed)])
    totals = counts.sum(axis=1)[:, None, None]
    means = counts @ drawn / totals[:, 0]
    products = np.matmul(drawn.T[None] * counts[:, None, :], drawn)
    covariances = (products - totals * means[:, :, None] * means[:, None, :]) / (totals - 1)
    roots = np.sqrt(np.linalg.eigvalsh(root_real @ covariances @ root_real).clip(min=0)).sum(axis=1)
    spreads = np.trace(covariances, axis1=1, axis2=2) + np.trace(covariance_real)
    distances = ((means - mean_real) ** 2).sum(axis=1) + spreads - 2 * roots
    return centred(float(distances[0]), distances[1:])


def colour_histograms(pictures: list[Image.Image]) -> NDArray[np.float64]:
    """Return the share of each picture's pixels in each of 8 x 8 x 8 RGB cells: [N, 512], rows sum to 1."""
    rows = []
    for picture in pictures:
        cells = np.asarray(picture.convert("RGB")).astype(np.int64) * LEVELS // 256
        index = (cells[..., 0] * LEVELS + cells[..., 1]) * LEVELS + cells[..., 2]
        rows.append(np.bincount(index.ravel(), minlength=LEVELS**3) / index.size)
    return np.stack(rows)


def histogram_distance(
    drawn: list[Image.Image], captions: Sequence[str], real: list[Image.Image], *, seed: int
) -> Interval:
    """Return the total variation distance of the two sets' pooled colour histograms, in [0, 1].

    Zero when both sets use the same colours over the same areas, one when they share none. Like every
    distance of samples it is biased upwards when pictures are few. ``captions`` says what each of ``drawn``
    was drawn for.
    """
    if not drawn or not real:
        raise ValueError("the histogram distance needs a picture on each side")
    histograms = colour_histograms(drawn)
    pooled_real = colour_histograms(real).mean(axis=0)
    counts = np.vstack([np.ones(len(drawn)), resampled_counts(captions, seed=seed)])
    distances = 0.5 * np.abs(counts @ histograms / counts.sum(axis=1, keepdims=True) - pooled_real).sum(
        axis=1
    )
    return centred(float(distances[0]), distances[1:])
