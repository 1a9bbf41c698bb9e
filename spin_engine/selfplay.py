"""The opponent's work: it draws a rival for every pair, and notes the reference's errors for draws to come.

Most losses need the reference only through two numbers, r_w and r_l, of each draw of timestep and noise. The
draws are fixed in advance (``itinerary``, ``diffusion.draw``), so they are computed here, where theta_k is
loaded anyway, and training holds no second model. Methods that bring their rivals have only that done.
Reference batches have the size of training's micro-batches, winners first: equal shapes run equal kernels, so
the numbers are those that training would get.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from spin_engine.batches import Batches, States
from spin_engine.diffusion import derive_seed
from spin_engine.families.family import Family
from spin_engine.files import write_whole
from spin_engine.hyperparameters import IterationPlan, RoundsHyperparameters
from spin_engine.itinerary import Itinerary, Look
from spin_engine.latents import Encoded
from spin_engine.reporter import Progress, Reporter
from spin_engine.sampler import contrasts, initial_noise, sample
from spin_engine.stopping import Stop

CHUNK = 128
LARGEST_BATCH = 64


@dataclass(frozen=True)
class Drawing:
    """How rivals are drawn."""

    steps: int
    guidance: float
    batch_size: int

    def passes(self, family: Family) -> int:
        """Return how many samples the denoiser sees for one rival."""
        return self.steps * (2 if contrasts(family, self.guidance) else 1)


def drawing_of(settings: RoundsHyperparameters) -> Drawing:
    """Return how a job draws rivals: in batches of training's size, winners and rivals, or less."""
    micro_batch = min(settings.micro_batch_size or settings.batch_size, settings.batch_size)
    return Drawing(settings.rival_steps, settings.rival_guidance, min(LARGEST_BATCH, 2 * micro_batch))


class Opponent:
    """theta_k at work on one iteration."""

    def __init__(
        self,
        family: Family,
        encoded: Encoded,
        batches: Batches,
        itinerary: Itinerary,
        *,
        plan: IterationPlan,
        micro_batch: int,
        judge: Family | None = None,
    ) -> None:
        """Prepare.

        Args:
            family: theta_k.
            encoded: the dataset.
            batches: as training makes them.
            itinerary: of the iteration that will train against these rivals.
            plan: likewise.
            micro_batch: training's captions in one forward pass.
            judge: the reference; None: theta_k itself.
        """
        self._family = family
        self._judge = judge or family
        self._encoded = encoded
        self._itinerary = itinerary
        self._batches = batches
        self._plan = plan
        self._micro_batch = micro_batch
        self.judges = plan.cached or plan.sampler_steps is not None

    def draw(
        self, pairs: list[int], drawing: Drawing, *, progress: Progress, stop: Stop
    ) -> dict[str, Tensor]:
        """Return the ``latents`` of the rivals of one bucket's n pairs, (n, C, h, w) on the CPU.

        With states of the sampler also ``states``, (n, D, C, h, w): where it was at the time of each draw.
        """
        drawn: list[dict[str, Tensor]] = []
        for start in range(0, len(pairs), drawing.batch_size):
            stop.check()
            some = pairs[start : start + drawing.batch_size]
            seeds = [
                derive_seed(self._itinerary.seed, "rival", self._itinerary.iteration, pair) for pair in some
            ]
            device = self._family.device
            condition = self._encoded.condition(some, [False] * len(some))
            negative = self._encoded.empty(len(some)) if contrasts(self._family, drawing.guidance) else None
            passed: list[Tensor] = []
            latents = sample(
                self._family,
                {name: tensor.to(device) for name, tensor in condition.items()},
                negative and {name: tensor.to(device) for name, tensor in negative.items()},
                initial_noise(seeds, self._encoded.shape_of(some[0])),
                steps=drawing.steps,
                guidance=drawing.guidance,
                each_state=passed.append if self._plan.sampler_steps is not None else None,
            )
            drawn.append({"latents": latents.cpu()} | self._states(some, passed))
            progress.advance(len(some) * drawing.passes(self._family))
        return {name: torch.cat([each[name] for each in drawn]) for name in drawn[0]}

    def _states(self, pairs: list[int], passed: list[Tensor]) -> dict[str, Tensor]:
        """Return, of the states of all steps, those at which training looks."""
        if not passed:
            return {}
        kept = torch.full((len(pairs), self._itinerary.draws_a_pair, *passed[0].shape[1:]), math.nan)
        for row, look in self._looks(pairs):
            kept[row, look.draw] = passed[self._batches.sampler_step(look)][row].float().cpu()
        return {"states": kept}

    def _looks(self, pairs: list[int]) -> list[tuple[int, Look]]:
        """Return the looks of training at these pairs, each with its pair's place among them."""
        return [
            (row, Look(pair, number))
            for row, pair in enumerate(pairs)
            for number in self._itinerary.used_draws(pair)
        ]

    @torch.no_grad()
    def judge(
        self, pairs: list[int], rivals: Mapping[str, Tensor], *, progress: Progress, stop: Stop
    ) -> dict[str, Tensor]:
        """Return what training will ask of the reference and the sampler, (n, D, ...) on the CPU.

        ``reference``, ``answers`` and ``targets`` as far as the plan needs them (see ``rivals``).

        Args:
            pairs: n of them, of one bucket.
            rivals: their ``latents`` and ``states``, if they were drawn.
            progress: counts passes.
            stop: is asked between batches.
        """
        found: dict[str, Tensor] = {}
        places = self._looks(pairs)
        for start in range(0, len(places), self._micro_batch):
            stop.check()
            some = places[start : start + self._micro_batch]
            full = some + some[-1:] * (self._micro_batch - len(some))
            for name, values in self._ask(full, rivals).items():
                if name not in found:
                    every = (len(pairs), self._itinerary.draws_a_pair, *values.shape[1:])
                    found[name] = torch.full(every, math.nan)
                for (row, look), value in zip(some, values, strict=False):
                    found[name][row, look.draw] = value
            progress.advance(2 * len(some))
        return found

    def _ask(self, places: list[tuple[int, Look]], rivals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the verdict on a micro-batch, each tensor (B, ...) on the CPU."""
        plan, looks, b = self._plan, [look for _, look in places], len(places)
        if plan.rivals == "given":
            latents = self._encoded.losers([look.pair for look in looks])
        else:
            latents = rivals["latents"][[row for row, _ in places]]
        states = None
        if "states" in rivals:
            x_t = torch.stack([rivals["states"][row, look.draw] for row, look in places])
            states = States(x_t, torch.zeros_like(x_t))
        batch = self._batches.batch(looks, latents, states)
        verdict, target = {}, batch.target
        if states is not None:
            answer = self._family.predict(batch.x_t, batch.t, batch.condition).float()
            target = torch.cat([target[:b], answer[b:]])
            verdict["targets"] = answer[b:].cpu()
        if plan.cached:
            residual = self._judge.predict(batch.x_t, batch.t, batch.condition).float() - target
            verdict["reference"] = residual.square().mean(dim=(1, 2, 3)).view(2, b).T.cpu()
            if plan.reference == "answers":
                verdict["answers"] = residual[:b].cpu()
        return verdict

    def chunks(self, pairs: list[int]) -> list[list[int]]:
        """Return the pairs, in ascending order, in pieces of one bucket each."""
        layout = self._encoded.layout
        return [
            piece[start : start + CHUNK]
            for _, group in groupby(pairs, layout.bucket_of)
            for piece in [list(group)]
            for start in range(0, len(piece), CHUNK)
        ]

    def passes(self, pairs: list[int], drawing: Drawing | None) -> int:
        """Return the measure of progress: samples drawn step by step, and samples judged."""
        drawn = 0 if drawing is None else len(pairs) * drawing.passes(self._family)
        return drawn + (2 * len(self._looks(pairs)) if self.judges else 0)


def generate(
    opponent: Opponent,
    pairs: list[int],
    out: Path,
    *,
    shard: int,
    drawing: Drawing | None,
    reporter: Reporter,
    stop: Stop,
) -> None:
    """Write what training needs of ``pairs`` into ``out`` as shard ``shard``; chunks already there are kept.

    Args:
        opponent: theta_k.
        pairs: in ascending order.
        out: an existing folder.
        shard: goes into the files' names.
        drawing: how; None: the dataset's losers are the rivals.
        reporter: hears of the progress, in samples that the denoiser has seen.
        stop: is asked between batches.
    """
    progress = Progress(reporter, "generate", opponent.passes(pairs, drawing))
    for number, some in enumerate(opponent.chunks(pairs)):
        path = out / f"rivals-{shard:05d}-{number:05d}.safetensors"
        if path.exists():
            progress.advance(opponent.passes(some, drawing))
            continue
        tensors = {"pairs": torch.tensor(some)}
        if drawing is not None:
            tensors |= opponent.draw(some, drawing, progress=progress, stop=stop)
        if opponent.judges:
            tensors |= opponent.judge(some, tensors, progress=progress, stop=stop)
        write_whole(path, save(tensors))
