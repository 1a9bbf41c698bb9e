"""What a new job can be made of: methods, their settings as the engine's types describe them, and presets.

The one place of what forms and the API offer: nothing of it is written twice.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from core.runs.jobs import resolved_method
from spin_engine.config import HYPERPARAMETERS
from spin_engine.hyperparameters import RoundsHyperparameters

TITLES = {
    "spin": "Self-play (SPIN)",
    "sft": "Supervised fine-tuning (SFT)",
    "dpo": "Preference pairs (DPO)",
    "mapo": "Preference pairs without a reference (MaPO)",
    "dspo": "Preference scores (DSPO)",
    "kto": "Liked and disliked pictures (KTO)",
    "seppo": "Self-play against earlier selves (SePPO)",
    "dro": "Ranking against own drawings (DRO)",
}
LABELS = {
    "n_iterations": "Iterations",
    "sft_steps": "Supervised steps before",
    "sft_learning_rate": "Learning rate of those steps",
    "rival_steps": "Sampler steps of a rival",
    "rival_guidance": "Guidance of a rival",
    "eval_samples": "Captions measured",
    "eval_seeds": "Pictures a caption",
    "eval_steps": "Sampler steps measured",
    "eval_guidance": "Guidance measured",
    "max_grad_norm": "Largest gradient norm",
    "min_snr": "Min-SNR gamma",
    "ema_decay": "EMA decay",
    "k": "k of phi",
}
FIRST = (
    "n_iterations",
    "sft_steps",
    "steps",
    "learning_rate",
    "beta",
    "batch_size",
    "adapter",
    "rank",
    "resolution",
)
"""What most people change; the rest is for those who know why."""

Kind = Literal["integer", "number", "flag", "choice", "values", "names"]
PresetName = Literal["recommended", "quick", "thorough"]


@dataclass(frozen=True)
class Setting:
    """One hyperparameter as it can be chosen.

    Attributes:
        name: in the API.
        label: for people.
        help: its description in the engine.
        kind: a number, yes or no, one of ``choices``, one value or a list with one an iteration, or names.
        choices: of a ``choice``.
        minimum: of numbers, where there is one.
        maximum: likewise.
        recommended: what ``"auto"`` comes to.
        first: whether most people want to see it.
    """

    name: str
    label: str
    help: str
    kind: Kind
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    recommended: Any
    first: bool


@dataclass(frozen=True)
class Preset:
    """Hyperparameters under a name; those that it leaves out are as recommended."""

    name: PresetName
    title: str
    meaning: str
    hyperparameters: dict[str, Any]


@dataclass(frozen=True)
class Offer:
    """A method: what it is, what it needs, what can be chosen of it."""

    type: str
    title: str
    summary: str
    needs_pairs: bool
    plays_rounds: bool
    settings: tuple[Setting, ...]
    presets: tuple[Preset, ...]


def offers(defaults: dict[str, Any] | None) -> list[Offer]:
    """Return every method as it is offered for a base model with these recommendations."""
    return [offer(kind, defaults) for kind in HYPERPARAMETERS]


def offer(kind: str, defaults: dict[str, Any] | None) -> Offer:
    """Return one method as it is offered; KeyError if there is none of that name."""
    model = HYPERPARAMETERS[kind]
    recommended = _recommended(kind, defaults)
    first_iteration = model.model_validate(recommended).iterations[-1]
    plan = model.model_validate(recommended).for_iteration(first_iteration)
    return Offer(
        type=kind,
        title=TITLES[kind],
        summary=(model.__doc__ or "").strip(),
        needs_pairs=plan.rivals == "given",
        plays_rounds=issubclass(model, RoundsHyperparameters),
        settings=tuple(_setting(name, each, recommended) for name, each in _properties(kind).items()),
        presets=_presets(kind, defaults, recommended),
    )


def _recommended(kind: str, defaults: dict[str, Any] | None) -> dict[str, Any]:
    resolved = resolved_method({"type": kind}, defaults)
    return dict(resolved[kind]["hyperparameters"])


@cache
def _properties(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of each hyperparameter, what most people change first."""
    found: dict[str, Any] = HYPERPARAMETERS[kind].model_json_schema()["properties"]
    shown = [name for name in FIRST if name in found]
    return {name: found[name] for name in (*shown, *(name for name in found if name not in shown))}


def _setting(name: str, schema: dict[str, Any], recommended: dict[str, Any]) -> Setting:
    forms = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    limits = forms[0]
    minimum = limits.get("minimum", limits.get("exclusiveMinimum"))
    maximum = limits.get("maximum", limits.get("exclusiveMaximum"))
    return Setting(
        name=name,
        label=LABELS.get(name, name.replace("_", " ").capitalize()),
        help=schema.get("description") or limits.get("description") or "",
        kind=_kind(name, forms),
        choices=tuple(limits.get("enum", ())),
        minimum=None if minimum is None else float(minimum),
        maximum=None if maximum is None else float(maximum),
        recommended=recommended.get(name),
        first=name in FIRST,
    )


def _kind(name: str, forms: list[dict[str, Any]]) -> Kind:
    if name == "metrics":
        return "names"
    if len(forms) > 1:
        return "values"
    if "enum" in forms[0]:
        return "choice"
    kinds: dict[str, Kind] = {"integer": "integer", "number": "number", "boolean": "flag"}
    return kinds[forms[0]["type"]]


def _presets(
    kind: str, defaults: dict[str, Any] | None, recommended: dict[str, Any]
) -> tuple[Preset, Preset, Preset]:
    whose = "What the base model recommends." if (defaults or {}).get(kind) else "The method's own defaults."
    return (
        Preset("recommended", "Recommended", whose, {}),
        Preset(
            "quick",
            "Quick try",
            "An eighth of the steps and few pictures measured: shows that data and settings work, not how "
            "good the model can get.",
            _quick(kind, recommended),
        ),
        Preset("thorough", "Thorough", _thorough_means(recommended), _thorough(kind, recommended)),
    )


def _quick(kind: str, recommended: dict[str, Any]) -> dict[str, Any]:
    """Return an eighth of the steps, in at most two rounds, with fewer pictures measured."""
    found: dict[str, Any] = {}
    rounds = recommended.get("n_iterations")
    if rounds is not None and rounds > 2:
        found["n_iterations"] = 2
        found |= {name: value[:2] for name, value in _by_round(kind, recommended).items()}
    steps = found.get("steps", recommended["steps"])
    found["steps"] = [max(1, each // 8) for each in steps] if isinstance(steps, list) else max(1, steps // 8)
    if recommended.get("sft_steps"):
        found["sft_steps"] = max(1, recommended["sft_steps"] // 8)
    most = {"eval_samples": 16, "eval_seeds": 1}
    return found | {name: value for name, value in most.items() if recommended[name] > value}


def _thorough(kind: str, recommended: dict[str, Any]) -> dict[str, Any]:
    """Return one round more where rounds are played, else twice the steps; twice the pictures measured."""
    found: dict[str, Any] = {
        "eval_samples": min(10_000, 2 * recommended["eval_samples"]),
        "eval_seeds": max(2, recommended["eval_seeds"]),
    }
    rounds = recommended.get("n_iterations")
    if rounds is None:
        return found | {"steps": 2 * recommended["steps"]}
    longer = {name: [*value, value[-1]] for name, value in _by_round(kind, recommended).items()}
    return found | {"n_iterations": rounds + 1} | longer


def _thorough_means(recommended: dict[str, Any]) -> str:
    more = "One more round of self-play" if "n_iterations" in recommended else "Twice the steps"
    return f"{more}, and twice the pictures measured, for narrower intervals."


def _by_round(kind: str, recommended: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the recommended values that are lists with one value a round."""
    model = HYPERPARAMETERS[kind]
    names = model.each_iteration if issubclass(model, RoundsHyperparameters) else ()
    return {name: recommended[name] for name in names if isinstance(recommended[name], list)}


def preset(found: Offer, name: str) -> Preset:
    """Return a preset of a method; the recommended one if there is none of that name."""
    return next((each for each in found.presets if each.name == name), found.presets[0])
