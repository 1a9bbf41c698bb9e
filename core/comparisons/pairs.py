"""The votes of a comparison become a dataset of winners and losers.

Which pairs is decided in the request, and the pictures are copied later by the worker that validates the
dataset, as one that was uploaded: so it holds its own pictures, whatever becomes of the comparison.
"""

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import datasets
from core.comparisons.pixels import bare
from core.comparisons.records import lock
from core.comparisons.results import decided, votes_of
from core.errors import Conflict
from core.ingest.options import Options
from core.ingest.rows import LOSER
from core.models import Comparison, ComparisonPicture, Dataset, DatasetPairs
from core.sources import SourceFile


@dataclass(frozen=True)
class WonAndLost:
    """Two pictures of one prompt and seed, and what the row is called."""

    name: str
    prompt: str
    winner: SourceFile
    loser: SourceFile


def create_dataset(
    session: Session,
    *,
    project_id: str,
    comparison_id: str,
    name: str,
    agreed: float = 0.5,
    options: Options | None = None,
) -> Dataset:
    """Make the next version of a dataset from the votes there are now; a worker copies the pictures.

    Args:
        session: an open transaction.
        project_id: whose it is.
        comparison_id: whose votes.
        name: of the dataset.
        agreed: the share of the votes on a pair of pictures that its winner needs, a tie counting half. At
            0.5 one vote more than the other's is enough; what is tied is always left out.
        options: what else is said of the dataset, such as a split.

    Raises:
        Conflict: nothing has a winner.
    """
    comparison = lock(session, project_id=project_id, comparison_id=comparison_id)
    chosen = decided(votes_of(session, comparison), agreed=agreed)
    if not chosen:
        raise Conflict(
            f"no two pictures of {comparison_id} have a winner yet: vote first, or ask for less agreement",
            code="nothing_decided",
        )
    dataset = datasets.create_from_votes(
        session, project_id=project_id, name=name, comparison_id=comparison_id, options=options
    )
    pairs = [[item.prompt, item.seed, winner, loser] for item, winner, loser in chosen]
    session.add(DatasetPairs(dataset_id=dataset.id, comparison_id=comparison_id, pairs=pairs))
    session.flush()
    return dataset


def pairs_of(session: Session, dataset: Dataset) -> list[WonAndLost]:
    """Return the pictures that a dataset of votes is to be made of."""
    made = session.get_one(DatasetPairs, dataset.id)
    comparison = session.get_one(Comparison, made.comparison_id)
    rows = select(ComparisonPicture.model, ComparisonPicture.prompt, ComparisonPicture.files).where(
        ComparisonPicture.comparison_id == made.comparison_id
    )
    files = {(model, prompt): of for model, prompt, of in session.execute(rows)}

    def shown(model: int, prompt: int, seed: int) -> SourceFile:
        of = files[model, prompt]
        assert of is not None, "what was voted on is drawn"
        file = of[comparison.prompts[prompt]["seeds"].index(seed)]
        return SourceFile(file["path"], file["key"], file["sha256"], file["size"])

    return [
        WonAndLost(
            f"{prompt:03d}-{seed}-{winner}-{loser}",
            comparison.prompts[prompt]["prompt"],
            shown(winner, prompt, seed),
            shown(loser, prompt, seed),
        )
        for prompt, seed, winner, loser in made.pairs
    ]


def pack(pairs: Sequence[WonAndLost], archive: Path, *, read: Callable[[SourceFile], bytes]) -> None:
    """Copy pictures into a tar as one is uploaded: NAME.png, NAME.loser.png and NAME.txt. One at a time.

    Args:
        pairs: what goes in, in this order.
        archive: the file to make.
        read: returns a picture's bytes, which have the sha256 that is told; it may raise to stop.
    """
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for pair in pairs:
            parts = {
                f"{pair.name}.png": bare(read(pair.winner)),
                f"{pair.name}{LOSER}.png": bare(read(pair.loser)),
                f"{pair.name}.txt": pair.prompt.encode(),
            }
            for name, data in parts.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            tar.members.clear()  # type: ignore[attr-defined]  # or it keeps all of them until it is closed
