"""What a job holds in memory and leaves on disk, from sizes alone. Torch-free."""

from dataclasses import dataclass

from spin_engine.hyperparameters import Hyperparameters, IterationPlan
from spin_engine.sizes import PipelineSize

FLOAT = 4
"""Bytes: the denoiser is trained, and everything is kept, in float32."""
MOMENTS = 2
"""Of Adam, for each trained value."""
QUANTISED = 1
"""Bytes of a moment of 8-bit Adam; its blocks' scales are small."""


@dataclass(frozen=True)
class Held:
    """What a training process holds of the denoiser on its device from step to step, in bytes."""

    weights: int
    """The adapter included."""
    gradients: int
    moments: int
    mean: int
    """The running mean, if there is one."""
    reference: int
    """The second copy of the trained values that an online reference needs."""

    @property
    def between_steps(self) -> int:
        """All but the gradients, which a step leaves behind it."""
        return self.weights + self.moments + self.mean + self.reference


@dataclass(frozen=True)
class Disk:
    """What a job writes, in bytes; previews, pictures and logs left out."""

    encoded: int
    """Latents and captions."""
    rivals: int
    """What ``generate`` keeps."""
    checkpoints: int
    """At their most at one time, or all of them."""
    weights: int
    """Of each iteration."""
    model: int
    """The published pipeline."""

    @property
    def total(self) -> int:
        """The sum."""
        return self.encoded + self.rivals + self.checkpoints + self.weights + self.model


def trained(size: PipelineSize, chosen: Hyperparameters) -> int:
    """Return how many values training changes."""
    return size.parameters if chosen.rank is None else chosen.rank * size.per_rank


def held(size: PipelineSize, chosen: Hyperparameters) -> Held:
    """Return what training holds; of several iterations that of the hungriest."""
    ours = FLOAT * trained(size, chosen)
    plans = [chosen.for_iteration(iteration) for iteration in chosen.iterations]
    online = any(plan.reference != "none" and not plan.cached for plan in plans)
    each = FLOAT if chosen.optimizer == "adamw" else QUANTISED
    return Held(
        weights=FLOAT * size.parameters + (0 if chosen.rank is None else ours),
        gradients=ours,
        moments=MOMENTS * each * trained(size, chosen),
        mean=0 if chosen.ema_decay is None else ours,
        reference=ours if online else 0,
    )


def disk(
    size: PipelineSize, chosen: Hyperparameters, *, rows: int, keep: int | None, losers: bool = False
) -> Disk:
    """Return what a job leaves on disk.

    Args:
        size: of the base.
        chosen: the method's settings.
        rows: captioned pictures of the training data.
        keep: checkpoints that stay while an iteration trains, and go with its end; None: all stay for ever.
        losers: whether the data has a second picture of each caption.
    """
    side = size.latent_side(chosen.resolution)
    latent = size.channels * side * side
    ours = trained(size, chosen)
    adapter = 0 if chosen.rank is None else ours
    plans = [chosen.for_iteration(iteration) for iteration in chosen.iterations]
    counts = [-(-plan.steps // chosen.checkpoint_every) for plan in plans]
    checkpoints = sum(counts) if keep is None else min(keep + 1, max(counts))
    checkpoint = FLOAT * ours * (1 if chosen.ema_decay is None else 2) + held(size, chosen).moments
    return Disk(
        encoded=FLOAT * rows * (latent * (2 if losers else 1) + size.text),
        rivals=FLOAT * sum(_rivals(plan, rows, plan.steps * chosen.batch_size, latent) for plan in plans),
        checkpoints=checkpoints * checkpoint,
        weights=FLOAT * ours * len(plans),
        model=FLOAT * (size.parameters + adapter) + size.other_bytes,
    )


def _rivals(plan: IterationPlan, rows: int, looks: int, latent: int) -> int:
    """Return the values that ``generate`` keeps for an iteration; r_w and r_l themselves are small."""
    pairs = min(rows, looks)
    visits = -(-looks // rows)
    draws = visits if plan.draws is None else min(plan.draws, visits)
    per_pair = latent if plan.rivals == "drawn" else 0
    if plan.cached and plan.reference == "answers":
        per_pair += draws * latent
    if plan.sampler_steps is not None:
        per_pair += 2 * draws * latent
    return pairs * per_pair
