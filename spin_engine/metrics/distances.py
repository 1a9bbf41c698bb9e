"""Distances between two sets of pictures: Frechet and kernel on features, total variation on colours."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spin_engine.metrics.interval import RESAMPLES, Interval, centred, interval, resampled_counts

LEVELS = 8
NARROW, FEWER = 128, 50
"""Above so many features the Frechet distance, cubic in them, is resampled only so many times."""
LARGEST = 2**25
"""Numbers held at once."""


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
    features = drawn.shape[1]
    resamples = RESAMPLES if features <= NARROW else FEWER
    counts = np.vstack([np.ones(len(drawn)), resampled_counts(captions, seed=seed, resamples=resamples)])
    chunk = max(1, LARGEST // (features * max(features, len(drawn))))
    parts = [
        _to_gaussian(drawn, counts[start : start + chunk], mean_real, covariance_real, root_real)
        for start in range(0, len(counts), chunk)
    ]
    distances = np.concatenate(parts)
    return centred(float(distances[0]), distances[1:])


def _to_gaussian(
    drawn: NDArray[np.float64],
    counts: NDArray[np.float64],
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    root: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the squared distances [R] of R weightings [R, N] of ``drawn`` to one Gaussian."""
    totals = counts.sum(axis=1)[:, None, None]
    means = counts @ drawn / totals[:, 0]
    products = np.matmul(drawn.T[None] * counts[:, None, :], drawn)
    covariances = (products - totals * means[:, :, None] * means[:, None, :]) / (totals - 1)
    roots = np.sqrt(np.linalg.eigvalsh(root @ covariances @ root).clip(min=0)).sum(axis=1)
    spreads = np.trace(covariances, axis1=1, axis2=2) + np.trace(covariance)
    distances: NDArray[np.float64] = ((means - mean) ** 2).sum(axis=1) + spreads - 2 * roots
    return distances.clip(min=0)  # of equal sets, rounding alone could make it negative


def kernel_distance(
    drawn: NDArray[np.float64], captions: Sequence[str], real: NDArray[np.float64], *, seed: int
) -> Interval:
    """Return the kernel distance of two sets of features, unbiased whatever their sizes (arXiv 1801.01401).

    MMD^2 = mean_(i != j) k(d_i, d_j) + mean_(i != j) k(r_i, r_j) - 2 mean_(i, j) k(d_i, r_j),
    k(x, y) = (x . y / features + 1)^3

    It can be negative. A resample repeats pictures; pairs of a picture with itself are left out there too, so
    resamples are not biased either. The interval is over ``drawn``, with ``real`` fixed.

    Args:
        drawn: [N, features], N >= 2.
        captions: [N], what each was drawn for.
        real: [M, features], M >= 2.
        seed: of the resamples.
    """
    if min(len(drawn), len(real)) < 2:
        raise ValueError("the kernel distance needs two pictures on each side")
    counts = np.vstack([np.ones(len(drawn)), resampled_counts(captions, seed=seed)])
    totals = counts.sum(axis=1)
    within = _kernel_sums(drawn, drawn, counts, counts) - counts**2 @ _own_kernel(drawn)
    ones = np.ones((1, len(real)))
    among_real = _kernel_sums(real, real, ones, ones)[0] - _own_kernel(real).sum()
    across = _kernel_sums(drawn, real, counts, np.broadcast_to(ones, (len(counts), len(real))))
    pairs = (totals**2 - (counts**2).sum(axis=1)).clip(min=1)
    distances = within / pairs + among_real / (len(real) * (len(real) - 1))
    distances -= 2 * across / (totals * len(real))
    return interval(float(distances[0]), distances[1:])


def _own_kernel(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return k(x_i, x_i), [N]."""
    own: NDArray[np.float64] = ((features**2).mean(axis=1) + 1) ** 3
    return own


def _kernel_sums(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    left_counts: NDArray[np.float64],
    right_counts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return sum_(i, j) a_ri k(x_i, y_j) b_rj for each row r of the counts [R, N] and [R, M]: [R]."""
    sums = np.zeros(len(left_counts))
    rows = max(1, LARGEST // (8 * len(right)))
    for start in range(0, len(left), rows):
        part = slice(start, start + rows)
        kernel = (left[part] @ right.T / left.shape[1] + 1) ** 3
        sums += ((left_counts[:, part] @ kernel) * right_counts).sum(axis=1)
    return sums


def colour_histograms(pictures: Sequence[Image.Image]) -> NDArray[np.float64]:
    """Return the share of each picture's pixels in each of 8 x 8 x 8 RGB cells: [N, 512], rows sum to 1."""
    rows = []
    for picture in pictures:
        cells = np.asarray(picture.convert("RGB")).astype(np.int64) * LEVELS // 256
        index = (cells[..., 0] * LEVELS + cells[..., 1]) * LEVELS + cells[..., 2]
        rows.append(np.bincount(index.ravel(), minlength=LEVELS**3) / index.size)
    return np.stack(rows)


def histogram_distance(
    drawn: Sequence[Image.Image], captions: Sequence[str], real: Sequence[Image.Image], *, seed: int
) -> Interval:
    """Return the total variation distance of the two sets' pooled colour histograms, in [0, 1].

    Zero when both sets use the same colours over the same areas, one when they share none. Like every
    distance of samples it is biased upwards when pictures are few. ``captions`` says what each of ``drawn``
    was drawn for.
    """
    if not len(drawn) or not len(real):
        raise ValueError("the histogram distance needs a picture on each side")
    histograms = colour_histograms(drawn)
    pooled_real = colour_histograms(real).mean(axis=0)
    counts = np.vstack([np.ones(len(drawn)), resampled_counts(captions, seed=seed)])
    distances = 0.5 * np.abs(counts @ histograms / counts.sum(axis=1, keepdims=True) - pooled_real).sum(
        axis=1
    )
    return centred(float(distances[0]), distances[1:])
