"""How comparisons are shown in a terminal."""

from typing import TYPE_CHECKING

from rich.markup import escape

from spindle.cli.terminal import out, show_pairs, show_table, status, when

if TYPE_CHECKING:
    from spindle.comparing import Comparison, Contest

NOTES = {
    "no_votes": "no votes",
    "one_prompt": "one prompt alone",
    "one_sided": "every vote says the same",
    "few_prompts": "few prompts",
}


def show(comparison: "Comparison") -> None:
    """Print what is compared, and how far it is drawn."""
    models = (f"{each.id} ({each.label})" if each.label else each.id for each in comparison.models)
    show_pairs(
        id=comparison.id,
        name=escape(comparison.name),
        status=status(comparison.status),
        models=escape("\n".join(models)),
        job=comparison.job,
        pictures=f"{comparison.drawn} of {comparison.total}"
        + (f", {comparison.failed} failed" if comparison.failed else ""),
        failure=escape((comparison.failure or {}).get("message", "")),
        votes=comparison.votes,
        created=when(comparison.created),
    )


def show_results(comparison: "Comparison", *, per_prompt: bool) -> None:
    """Print what the votes say."""
    show(comparison)
    labels = {each.id: escape(each.label or each.name) for each in comparison.models}
    show_table(
        (
            (
                f"{labels.get(each.model, each.model)} against {labels.get(each.other, each.other)}",
                _rate(each),
                f"{each.wins} / {each.losses} / {each.ties}",
                "" if each.p_value is None else f"{each.p_value:.3g}",
                "; ".join([*([NOTES.get(each.note, each.note)] if each.note else []), *_same(each)]),
            )
            for each in comparison.results or ()
        ),
        *("models", "win rate", "won / lost / tied", "p", ""),
        empty="Nothing is drawn yet.",
    )
    if comparison.ranking:
        rows = (
            (
                f"{each.rank}. {labels.get(each.model, each.model)}",
                f"{each.strength:+.2f}" + _interval(each.low, each.high, "+.2f"),
                f"{each.share:.0%}",
            )
            for each in comparison.ranking
        )
        show_table(rows, "rank", "strength", "wins against the others", empty="")
    if comparison.agreement is not None:
        agreed = comparison.agreement
        alpha = "" if agreed.alpha is None else f", alpha {agreed.alpha:.2f}"
        out.print(f"Voters agree in {agreed.rate:.0%} of what several were asked{alpha}.")
    if per_prompt:
        for each in comparison.per_prompt or ():
            lines = "  ".join(f"{one.wins}:{one.losses} ({one.ties} tied)" for one in each.results)
            out.print(f"{each.prompt}  {lines}", markup=False)


def _rate(contest: "Contest") -> str:
    if contest.rate is None:
        return ""
    return f"{contest.rate:.0%}" + _interval(contest.low, contest.high, ".0%")


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f" [{low:{form}} to {high:{form}}]"


def _same(contest: "Contest") -> list[str]:
    return [f"{contest.same} pairs look the same"] if contest.same else []
