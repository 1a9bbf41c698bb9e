"""One work unit as its caller describes it: a folder goes in, a folder comes out. Torch-free."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from spin_engine.config import Method
from spin_engine.hyperparameters import Config, IterationPlan

Kind = Literal["encode", "generate", "train", "evaluate", "publish"]

EVALUATE_BASE = -1
"""The iteration of an evaluation of the base model itself."""

NEEDED: dict[Kind, frozenset[str]] = {
    "encode": frozenset({"base", "data"}),
    "generate": frozenset({"base", "encoded"}),
    "train": frozenset({"base", "encoded"}),
    "evaluate": frozenset({"base", "data"}),
    "publish": frozenset({"base", "weights"}),
}
OPTIONAL: dict[Kind, frozenset[str]] = {
    "encode": frozenset({"validation", "encoded"}),
    "generate": frozenset({"weights", "reference"}),
    "train": frozenset({"weights", "rivals", "reference", "validation"}),
    "evaluate": frozenset({"weights", "encoded", "validation"}),
    "publish": frozenset(),
}

REMOTE = frozenset({"data", "validation", "encoded"})
"""What can be streamed from a URI; the rest is loaded whole."""

DONE, TEMPORARY_FAILURE, DATA_ERROR, OUT_OF_MEMORY, CRASH, PEERS_LOST = 0, 75, 65, 71, 70, 76
"""Exit codes: done; stopped with a checkpoint, run again; the user's mistake; too little memory; the rest.

76, of one of several processes: another has ended, and knows why.
"""


class UnitSpec(Config):
    """What ``python -m spin_engine unit SPEC.json`` does."""

    kind: Kind
    method: Method
    seed: int = Field(ge=0, lt=2**31, description="The job's seed.")
    iteration: int = Field(
        0, ge=EVALUATE_BASE, description="0: the supervised start; -1: the base (evaluate)."
    )
    shard: int = Field(0, ge=0, description="Which part to encode, or of the pairs to generate, from 0.")
    shards: int = Field(1, ge=1, description="In how many parts data are encoded or pairs generated.")
    inputs: dict[str, Path] = Field(description="Folders by name; they are only read.")
    sources: dict[str, str] = Field(
        {}, description="The same, behind URIs that fsspec knows: data, validation or encoded."
    )
    out: Path = Field(description="Folder whose content is the output once the unit has succeeded.")
    resume: Path | None = Field(None, description="train: the checkpoint folder to go on from.")

    def place(self, name: str) -> Path | str:
        """Return the folder or URI of an input."""
        return self.sources.get(name) or self.inputs[name]

    @property
    def plan(self) -> IterationPlan:
        """What the method plans for the unit's iteration."""
        return self.method.hyperparameters.for_iteration(self.iteration)

    @property
    def validates(self) -> bool:
        """Whether there is data that was held out."""
        return "validation" in self.inputs or "validation" in self.sources

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        """Refuse inputs that are missing or that the kind does not read, and values it would ignore."""
        if unknown := frozenset(self.sources) - REMOTE:
            raise ValueError(f"{sorted(unknown)} cannot be read from a URI, only {sorted(REMOTE)}")
        given = frozenset(self.inputs) | frozenset(self.sources)
        if missing := NEEDED[self.kind] - given:
            raise ValueError(f"{self.kind} needs the inputs {sorted(missing)}")
        if unknown := given - NEEDED[self.kind] - OPTIONAL[self.kind]:
            raise ValueError(f"{self.kind} does not read the inputs {sorted(unknown)}")
        if self.shard >= self.shards:
            raise ValueError(f"shard {self.shard} of {self.shards}: shards count from 0")
        if self.shards > 1 and self.kind not in ("encode", "generate"):
            raise ValueError(f"{self.kind} is one unit: shards is for encode and generate")
        if self.resume is not None and self.kind != "train":
            raise ValueError("resume is for train")
        if self.iteration == EVALUATE_BASE and self.kind in ("generate", "train"):
            raise ValueError(f"{self.kind} has no iteration {EVALUATE_BASE}")
        if self.kind == "train" and self.validates and not self.plan.gated:
            raise ValueError("train reads validation only for a gate")
        return self
