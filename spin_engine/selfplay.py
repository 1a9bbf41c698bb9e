"""The opponent's work: it draws a rival for every pair, and notes its own errors for every draw to come.

The loss needs theta_k only through two numbers, r_w and r_l, of each draw of timestep and noise. The draws
are fixed in advance (``itinerary``, ``diffusion.draw``), so theta_k computes them here, where it is loaded
anyway, and training holds no second model. Reference batches have the size of training's micro-batches,
winners first: equal shapes run equal kernels, so the numbers are those that training would get.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from spin_engine.batches import Batches, errors
from spin_engine.diffusion import derive_seed
from spin_engine.families.family import Family
from spin_engine.files import write_whole
from spin_engine.itinerary import Itinerary, Look
from spin_engine.latents import Encoded
from spin_engine.reporter import Progress, Reporter
from spin_engine.sampler import initial_noise, sample
from spin_engine.stopping import Stop

CHUNK = 128


@dataclass(frozen=True)
class Drawing:
    """How rivals are drawn."""

    steps: int
    guidance: float
    batch_size: int

    @property
    def passes(self) -> int:
        """Samples that the denoiser sees for one rival."""
        return self.steps * (1 if self.guidance == 1 else 2)


class Opponent:
    """theta_k at work on one iteration."""

    def __init__(
        self, family: Family, encoded: Encoded, itinerary: Itinerary, *, dropout: float, micro_batch: int
    ) -> None:
        """Prepare.

        Args:
            family: theta_k.
            encoded: the dataset.
            itinerary: of the iteration that will train against these rivals.
            dropout: training's share of empty captions; a rival itself is drawn for its caption.
            micro_batch: training's captions in one forward pass.
        """
        self._family = family
        self._encoded = encoded
        self._itinerary = itinerary
        self._batches = Batches(family, encoded, itinerary, dropout=dropout)
        self._micro_batch = micro_batch

    def draw(self, pairs: list[int], drawing: Drawing, *, progress: Progress, stop: Stop) -> Tensor:
        """Return the rivals' clean latents, float32 (len(pairs), C, h, w) on the CPU."""
        drawn = []
        for start in range(0, len(pairs), drawing.batch_size):
            stop.check()
            some = pairs[start : start + drawing.batch_size]
            seeds = [
                derive_seed(self._itinerary.seed, "rival", self._itinerary.iteration, pair) for pair in some
            ]
            device = self._family.device
            condition = self._encoded.condition(some, [False] * len(some))
            negative = self._encoded.empty(len(some)) if drawing.guidance != 1 else None
            latents = sample(
                self._family,
                {name: tensor.to(device) for name, tensor in condition.items()},
                negative and {name: tensor.to(device) for name, tensor in negative.items()},
                initial_noise(seeds, self._encoded.shape),
                steps=drawing.steps,
                guidance=drawing.guidance,
            )
            drawn.append(latents.cpu())
            progress.advance(len(some) * drawing.passes)
        return torch.cat(drawn)

    @torch.no_grad()
    def reference(self, pairs: list[int], rivals: Tensor, *, progress: Progress, stop: Stop) -> Tensor:
        """Return r_w and r_l of every draw that training uses, float32 (n, D, 2) on the CPU, NaN elsewhere.

        Args:
            pairs: n of them.
            rivals: their rivals, (n, C, h, w) on the CPU.
            progress: counts passes.
            stop: is asked between batches.
        """
        places = [
            (row, Look(pair, number))
            for row, pair in enumerate(pairs)
            for number in self._itinerary.used_draws(pair)
        ]
        found = torch.full((len(pairs), self._itinerary.draws_a_pair, 2), float("nan"))
        for start in range(0, len(places), self._micro_batch):
            stop.check()
            some = places[start : start + self._micro_batch]
            full = some + some[-1:] * (self._micro_batch - len(some))
            batch = self._batches.batch([look for _, look in full], rivals[[row for row, _ in full]])
            both = errors(self._family, batch).view(2, -1).T.cpu()
            for (row, look), pair_errors in zip(some, both, strict=False):
                found[row, look.draw] = pair_errors
            progress.advance(2 * len(some))
        return found

    def passes(self, pairs: list[int], drawing: Drawing, *, cached: bool) -> int:
        """Return how many samples the denoiser sees for these pairs: the measure of progress."""
        looks = sum(len(self._itinerary.used_draws(pair)) for pair in pairs) if cached else 0
        return len(pairs) * drawing.passes + 2 * looks


def generate(
    opponent: Opponent,
    pairs: list[int],
    out: Path,
    *,
    shard: int,
    drawing: Drawing,
    cached: bool,
    reporter: Reporter,
    stop: Stop,
) -> None:
    """Write the rivals of ``pairs`` into ``out`` as shard ``shard``; chunks already there are kept.

    Args:
        opponent: theta_k.
        pairs: in ascending order.
        out: an existing folder.
        shard: goes into the files' names.
        drawing: how.
        cached: whether to note the reference errors.
        reporter: hears of the progress, in samples that the denoiser has seen.
        stop: is asked between batches.
    """
    progress = Progress(reporter, "generate", opponent.passes(pairs, drawing, cached=cached))
    for number, start in enumerate(range(0, len(pairs), CHUNK)):
        some = pairs[start : start + CHUNK]
        path = out / f"rivals-{shard:05d}-{number:05d}.safetensors"
        if path.exists():
            progress.advance(opponent.passes(some, drawing, cached=cached))
            continue
        rivals = opponent.draw(some, drawing, progress=progress, stop=stop)
        tensors = {"pairs": torch.tensor(some), "latents": rivals}
        if cached:
            tensors["reference"] = opponent.reference(some, rivals, progress=progress, stop=stop)
        write_whole(path, save(tensors))
