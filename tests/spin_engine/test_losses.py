"""Every method through its units: what it needs is made, and cached and online references agree."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spin_engine.config import METHODS, JobConfig
from spin_engine.families.loader import load
from spin_engine.job import run_job
from spin_engine.objectives.seppo import SeppoHyperparameters
from spin_engine.stopping import Stop
from tests.spin_engine.conftest import ROWS, SPIN, Recorder, run
from tests.tiny import build_dataset, picture

TINY = {key: value for key, value in SPIN.items() if key not in ("n_iterations", "beta", "rival_steps")}
ROUNDS = {"n_iterations": 3, "rival_steps": 4}
ASKED: dict[str, dict[str, Any]] = {
    "spin": {**ROUNDS, "beta": 200.0},
    "dpo": {"beta": 200.0},
    "dspo": {"beta": 5.0},
    "kto": {"beta": 200.0},
    "seppo": {**ROUNDS, "beta": 200.0},
    "dro": ROUNDS,
}
FULL = {"adapter": "full", "rank": None, "learning_rate": 1e-4}
LN_2 = torch.tensor(2.0).log().item()


def body(kind: str, **changes: Any) -> dict[str, Any]:
    """Return a method at tiny sizes."""
    return {"type": kind, kind: {"hyperparameters": TINY | ASKED.get(kind, {}) | changes}}


@pytest.fixture(scope="session")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return data whose every picture has a worse one: another row's."""
    data = tmp_path_factory.mktemp("pairs")
    build_dataset(data, ROWS)
    lines = []
    for index, line in enumerate((data / "metadata.jsonl").read_text().splitlines()):
        picture(index + 5)[1].save(data / f"worse-{index:05d}.png")
        lines.append(json.dumps(json.loads(line) | {"loser_file_name": f"worse-{index:05d}.png"}))
    (data / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return data


@pytest.fixture(scope="session")
def pairs(pipeline: Path, paired: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same, encoded."""
    out = tmp_path_factory.mktemp("encoded-pairs")
    run("encode", out, inputs={"base": pipeline, "data": paired})
    return out


def play(folder: Path, inputs: dict[str, Path], method: dict[str, Any], **spec: Any) -> Recorder:
    """Run an iteration's units, as far as its method has them, and return what training told."""
    rivals = {}
    kind = method["type"]
    online = method[kind]["hyperparameters"].get("reference") == "online"
    if kind in ("spin", "seppo", "dro") or (kind in ("dpo", "kto", "dspo") and not online):
        run("generate", folder / "rivals", inputs=inputs, method=method, **spec)
        rivals = {"rivals": folder / "rivals"}
    return run("train", folder / "out", inputs=inputs | rivals, method=method, **spec)


@pytest.mark.parametrize(
    ("kind", "changes", "first"),
    [
        ("spin", {}, LN_2),
        ("spin", {"states": "sampler"}, LN_2),
        ("dpo", {}, LN_2),
        ("dspo", {}, None),
        ("kto", {}, 0.5),
        ("seppo", {}, LN_2),
        ("dro", {}, 0.001),
        ("dpo", {"safeguard": 0.9, "prompt_dropout": 0.5, "draws": 1}, LN_2),
    ],
)
def test_cached_and_online_references_give_the_same_losses(
    kind: str, changes: dict[str, Any], first: float | None, pipeline: Path, pairs: Path, tmp_path: Path
) -> None:
    inputs = {"base": pipeline, "encoded": pairs}
    heard = {
        reference: play(tmp_path / reference, inputs, body(kind, **changes, reference=reference))
        for reference in ("cached", "online")
    }
    cached, online = (heard[reference].values("loss") for reference in ("cached", "online"))
    assert cached == pytest.approx(online, abs=1e-6)
    assert len(set(cached)) > 1
    if first is not None:
        assert cached[0] == online[0] == pytest.approx(first, abs=0 if first == LN_2 else 1e-7)
    for name in ("margin", "winner_drift", "rival_drift"):
        one, other = (each.values(name) for each in heard.values())
        assert one == pytest.approx(other, abs=1e-6)
        assert one[0] == 0.0


def test_dspo_starts_from_the_winners_error(pipeline: Path, pairs: Path, tmp_path: Path) -> None:
    settings = body("dspo", steps=1)
    heard = run("train", tmp_path / "out", inputs={"base": pipeline, "encoded": pairs}, method=settings)
    assert heard.values("loss")[0] == pytest.approx(heard.values("winner_error")[0], rel=1e-5)


def test_mapo_needs_no_reference_and_nothing_generated(pipeline: Path, pairs: Path, tmp_path: Path) -> None:
    inputs = {"base": pipeline, "encoded": pairs}
    heard = run("train", tmp_path / "out", inputs=inputs, method=body("mapo", steps=2))
    assert all(math.isfinite(value) for value in heard.values("loss"))
    (first, *_) = [line["values"] for line in heard.lines if line["type"] == "metrics"]
    assert "winner_drift" not in first
    assert "margin" in first
    with pytest.raises(ValueError, match="mapo has no rivals to generate"):
        run("generate", tmp_path / "rivals", inputs=inputs, method=body("mapo"))


def test_min_snr_weighs_timesteps(pipeline: Path, encoded: Path, tmp_path: Path) -> None:
    inputs = {"base": pipeline, "encoded": encoded}
    plain = run("train", tmp_path / "a" / "out", inputs=inputs, method=body("sft", steps=1))
    weighed = run("train", tmp_path / "b" / "out", inputs=inputs, method=body("sft", steps=1, min_snr=5.0))
    assert plain.values("winner_error") == weighed.values("winner_error")
    assert plain.values("loss") == plain.values("winner_error")
    assert weighed.values("loss")[0] < plain.values("loss")[0]


@pytest.mark.parametrize("kind", ["dpo", "mapo", "dspo", "kto"])
def test_data_without_losers_is_refused_with_what_to_add(
    kind: str, pipeline: Path, dataset: Path, encoded: Path, tmp_path: Path
) -> None:
    units = ("encode", "generate", "train") if kind in ("dpo", "kto") else ("encode", "train")
    for unit in units:
        data = {"data": dataset} if unit == "encode" else {"encoded": encoded}
        with pytest.raises(ValueError, match=f'{kind} learns from pairs .* add "loser_file_name"'):
            run(unit, tmp_path / unit, inputs={"base": pipeline, **data}, method=body(kind))
        assert list((tmp_path / unit).iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "adapter"), [("spin", {}), ("seppo", {}), ("seppo", FULL), ("dro", {}), ("dro", FULL)]
)
def test_later_rounds_ask_whom_they_should(
    kind: str, adapter: dict[str, Any], pipeline: Path, pairs: Path, tmp_path: Path
) -> None:
    """Round 3 is drawn by theta_2, or by lot; its reference is the same, or for dro the base."""
    changes = adapter | {"steps": 2} | ({"earlier": 3} if kind == "seppo" else {})
    base = {"base": pipeline, "encoded": pairs}
    results: dict[int, Path] = {}
    for k in (1, 2):
        weights = {"weights": results[k - 1]} if k > 1 else {}
        once = body(kind, **changes | {"earlier": 1} if kind == "seppo" else changes)
        play(tmp_path / f"{k}", base | weights, once, iteration=k)
        results[k] = tmp_path / f"{k}" / "out" / "weights"
    seed = 2
    assert SeppoHyperparameters(n_iterations=3, earlier=3).opponent(3, seed=seed) == 1
    heard = {}
    for reference in ("cached", "online"):
        method = body(kind, **changes, reference=reference)
        folder = tmp_path / reference
        drawer = results[1] if kind == "seppo" else results[2]
        drawn = base | {"weights": drawer}
        run("generate", folder / "rivals", inputs=drawn, method=method, iteration=3, seed=seed)
        own = {"weights": results[2], "rivals": folder / "rivals"}
        if kind == "seppo":
            own["reference"] = results[1]
        played = {"inputs": base | own, "method": method, "iteration": 3, "seed": seed}
        heard[reference] = run("train", folder / "out", **played)
    cached, online = (heard[reference].values("loss") for reference in ("cached", "online"))
    assert cached == pytest.approx(online, abs=1e-5)
    assert (heard["cached"].values("winner_drift")[0] == 0.0) == (kind == "spin")


def test_a_sampler_passes_where_training_looks(pipeline: Path, pairs: Path, tmp_path: Path) -> None:
    settings = body("spin", states="sampler")
    run("generate", tmp_path, inputs={"base": pipeline, "encoded": pairs}, method=settings)
    found = load_file(tmp_path / "rivals-00000-00000.safetensors")
    rows, draws = found["reference"].shape[:2]
    assert found["states"].shape == found["targets"].shape == (rows, draws, 4, 8, 8)
    used = ~found["reference"][..., 0].isnan()
    assert used.any()
    assert found["reference"][used][:, 1].unique().tolist() == [0.0]
    assert torch.equal(~found["states"].isnan().any(dim=(2, 3, 4)), used)
    assert torch.equal(~found["targets"].isnan().any(dim=(2, 3, 4)), used)


@pytest.mark.parametrize(
    ("kind", "changes", "generated"),
    [
        ("dpo", {}, [1]),
        ("mapo", {}, []),
        ("seppo", {"reference": "online", "earlier": 3, "steps": 1, "n_iterations": 4}, [1, 2, 3, 4]),
        ("dro", {"steps": 1, "n_iterations": 2}, [1, 2]),
    ],
)
def test_a_whole_job_ends_in_a_model(
    kind: str, changes: dict[str, Any], generated: list[int], pipeline: Path, paired: Path, tmp_path: Path
) -> None:
    asked = {"model": str(pipeline), "training_data": str(paired), "seed": 3}
    job = JobConfig.model_validate(asked | {"method": body(kind, **changes)})
    heard = Recorder()
    model = run_job(job, tmp_path, heard, Stop())
    assert load(model).denoiser is not None
    made = sorted(int(path.parent.name[-2:]) for path in tmp_path.glob("work/iteration-*/rivals"))
    assert made == generated
    trained = [line["iteration"] for line in heard.lines if line["type"] == "metrics"]
    assert set(trained) == set(job.method.hyperparameters.iterations)


def test_every_method_is_tried_here() -> None:
    assert set(ASKED) | {"sft", "mapo"} == set(METHODS)


def test_rivals_of_another_kind_are_not_taken(pipeline: Path, pairs: Path, tmp_path: Path) -> None:
    inputs = {"base": pipeline, "encoded": pairs}
    run("generate", tmp_path / "rivals", inputs=inputs, method=body("dpo"))
    for path in (tmp_path / "rivals").glob("*.safetensors"):
        kept = {name: tensor for name, tensor in load_file(path).items() if name != "reference"}
        save_file(kept, path)
    with pytest.raises(ValueError, match="hold no reference errors"):
        run("train", tmp_path / "out", inputs=inputs | {"rivals": tmp_path / "rivals"}, method=body("dpo"))
