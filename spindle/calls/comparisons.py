"""``/v1/comparisons``."""

from collections.abc import Mapping, Sequence
from typing import Any

from spindle import comparing, results
from spindle.call import Call, Listing, Plan, known, post
from spindle.call import delete as _delete
from spindle.call import get as _get
from spindle.calls.waiting import until

PATH = "/v1/comparisons"
LOOK_SECONDS = 1.0


def create(
    models: Sequence[str] | None = None,
    *,
    job: str | None = None,
    iteration: int | None = None,
    prompts: Sequence[str] | None = None,
    dataset: str | None = None,
    prompts_from: int | None = None,
    seeds: Sequence[int] | None = None,
    **more: Any,
) -> Call[comparing.Comparison]:
    """Compare models blindly; pictures are drawn in the background.

    Args:
        models: two to six by their names; or None, with a ``job``.
        job: a job's id: an iteration against the one before it, on what the job previews.
        iteration: of the job; None: the newest that is trained.
        prompts: what every model draws.
        dataset: in place of ``prompts``, a dataset whose captions they are.
        prompts_from: how many captions of it.
        seeds: each prompt is drawn once with each.
        more: ``name``, ``steps``, ``guidance_scale``, ``size``, ``negative_prompt``.
    """
    told: dict[str, Any] = {
        "models": None if models is None else list(models),
        "job": job,
        "iteration": iteration,
        "prompts": None if prompts is None else list(prompts),
        "dataset": dataset,
        "prompts_from": prompts_from,
        "seeds": None if seeds is None else list(seeds),
    }
    return post(comparing.Comparison, PATH, known(told | more))


def get(comparison_id: str, *, reveal: bool = True) -> Call[comparing.Comparison]:
    """Return a comparison with what its votes say, unless that is not to be revealed."""
    params = {} if reveal else {"reveal": "false"}
    return _get(comparing.Comparison, f"{PATH}/{comparison_id}", **params)


def list_(*, job: str | None = None, limit: int | None = None) -> Listing[comparing.Comparison]:
    """Yield comparisons, newest first; those of one job."""
    return Listing(comparing.Comparison, PATH, limit, params={"job": job})


def delete(comparison_id: str) -> Call[results.Deleted]:
    """Delete a comparison with its votes and pictures; datasets made of it stay."""
    return _delete(f"{PATH}/{comparison_id}")


def wait(
    comparison_id: str, *, timeout: float | None = None, poll: float = LOOK_SECONDS
) -> Plan[comparing.Comparison]:
    """Wait until a comparison is drawn, and return it, ready or failed.

    Args:
        comparison_id: of the comparison.
        timeout: seconds to wait at most; None: for ever.
        poll: seconds between two looks.

    Raises:
        WaitedTooLongError: it was still being drawn.
    """
    return until(get(comparison_id), lambda found: found.finished, timeout=timeout, poll=poll)


def pictures(comparison_id: str, *, limit: int | None = None) -> Listing[comparing.Pictures]:
    """Yield what each model drew, prompt by prompt: not for who is to vote."""
    return Listing(comparing.Pictures, f"{PATH}/{comparison_id}/pictures", limit)


def ballot(comparison_id: str, *, voter: str | None = None) -> Call[comparing.Ballot]:
    """Draw the next ballot of a voter, by default of the key; its ``id`` is None when nothing is left."""
    return post(comparing.Ballot, f"{PATH}/{comparison_id}/ballots", known({"voter": voter}))


def vote(
    comparison_id: str, ballot_id: str, choice: str, *, voter: str | None = None
) -> Call[comparing.Vote]:
    """Say which picture of a ballot is better: ``left``, ``right`` or ``tie``."""
    told = {"ballot": ballot_id, "choice": choice, "voter": voter}
    return post(comparing.Vote, f"{PATH}/{comparison_id}/votes", known(told))


def votes(comparison_id: str, *, limit: int | None = None) -> Listing[comparing.Vote]:
    """Yield the votes with the models they were about, the last cast first."""
    return Listing(comparing.Vote, f"{PATH}/{comparison_id}/votes", limit)


def undo(comparison_id: str, *, voter: str | None = None) -> Call[comparing.Undone]:
    """Take a voter's last vote back; its ballot is open again."""
    return post(comparing.Undone, f"{PATH}/{comparison_id}/votes/undo", known({"voter": voter}))


def create_dataset(
    comparison_id: str, name: str, *, agreed: float | None = None, split: Mapping[str, Any] | None = None
) -> Call[results.Dataset]:
    """Make a dataset of winners and losers from the votes there are now, for ``dpo`` and others.

    Args:
        comparison_id: whose votes.
        name: of the dataset; one that exists gets its next version.
        agreed: the share of the votes on two pictures that a winner needs; None: more than half.
        split: what is held out, such as ``{"validation": 0.1, "by": "caption"}``.
    """
    told = {"name": name, "agreed": agreed, "split": split}
    return post(results.Dataset, f"{PATH}/{comparison_id}/datasets", known(told))
