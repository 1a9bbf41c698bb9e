"""The gate: what loses against its start is not kept, whenever the work is interrupted."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spin_engine import checkpoint, gate, weights
from spin_engine.families.loader import load
from spin_engine.files import sha256_of
from spin_engine.job import run_job
from spin_engine.latents import Encoded
from spin_engine.reporter import Line, Progress
from spin_engine.selfplay import Drawing
from spin_engine.stopping import Stop, Stopped
from tests.spin_engine.conftest import ROWS, Recorder, method, run
from tests.spin_engine.test_job import job
from tests.spin_engine.test_trainer import BOTH, FULL, LORA, same_bits

LOSES: dict[str, Any] = {"gate": True, "learning_rate": 1.0, "eval_samples": 6}
"""Four steps of such length leave nothing of a model."""
WINS: dict[str, Any] = FULL | {
    "gate": True,
    "learning_rate": 3e-3,
    "anchor": 1000.0,
    "beta": 1.0,
    "steps": 12,
}
"""All but supervised steps, on a base that has learned nothing yet."""


@pytest.fixture(scope="session")
def inputs(pipeline: Path, encoded: Path, rivals: Path) -> dict[str, Path]:
    return {"base": pipeline, "encoded": encoded, "rivals": rivals}


def train(out: Path, inputs: dict[str, Path], hyper: dict[str, Any], **spec: Any) -> Recorder:
    return run("train", out / "out", inputs=inputs, method=method(**hyper), **spec)


def rivals_for(inputs: dict[str, Path], out: Path, hyper: dict[str, Any], **spec: Any) -> dict[str, Path]:
    given = {name: path for name, path in inputs.items() if name != "rivals"}
    run("generate", out, inputs=given, method=method(**hyper), **spec)
    return given | {"rivals": out}


def messages(heard: Recorder) -> list[tuple[str, str]]:
    return [(line["level"], line["text"]) for line in heard.lines if line["type"] == "message"]


def test_distances_worked_by_hand() -> None:
    def distance(drawn: list[float], real: list[float]) -> list[float]:
        one, other = (torch.tensor(values).view(-1, 1, 1, 1) for values in (drawn, real))
        return gate.distances(one, other).tolist()

    assert distance([0.0, 2.0], [0.0, 2.0]) == [0.0, 0.0]
    assert distance([3.0, 5.0], [0.0, 2.0]) == [2.0, 2.0]
    assert distance([1.0, 1.0], [0.0, 2.0]) == [0.0, 0.0]
    assert distance([0.0, 0.0], [3.0, 5.0]) == [6.0, 6.0]
    assert distance([0.0, 0.0, 3.0], [0.0, 0.0, 0.0]) == [0.0, 0.0, 0.0]
    wide = torch.tensor([0.0, 3.0]).view(2, 1, 1, 1).expand(2, 4, 8, 8)
    assert gate.distances(wide + 4.0, wide).tolist() == pytest.approx([1.0 + 7.0 - 3.0 - 3.0] * 2)


def test_another_distribution_is_farther() -> None:
    """Shifted, all alike, or spread too far: the data's own is nearest, and comes out as 0 within chance."""
    source = torch.Generator().manual_seed(0)
    drawn, real = torch.randn((2, 300, 4, 2, 2), generator=source)
    own = gate.distances(drawn, real)
    assert abs(float(own.mean())) < 2 * 2 * float(own.std()) / 300**0.5
    for other in (drawn + 0.5, drawn * 0.5, drawn * 2.0):
        assert not gate.verdict(own, gate.distances(other, real), held_out=True).accepted


def test_who_loses() -> None:
    """The differences are -1, 0, 0 and 3: 0.5 on average, with a standard error of std = 1.7320508."""
    before = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    found = gate.verdict(before, before + torch.tensor([-1.0, 0.0, 0.0, 3.0]), held_out=True)
    assert (found.before, found.after, found.captions, found.held_out) == (1.0, 1.5, 4, True)
    assert found.standard_error == pytest.approx(3**0.5)
    assert found.accepted
    assert gate.verdict(before, before, held_out=True).accepted
    assert not gate.verdict(before, before + 0.1, held_out=True).accepted
    broken = gate.verdict(before, before * torch.nan, held_out=True)
    assert not broken.accepted
    assert broken.as_json()["after"] is None


def test_pairs_are_spread_over_the_data(encoded: Path) -> None:
    data = Encoded(encoded)
    assert gate.chosen(data, 4) == [0, 3, 6, 9]
    assert gate.chosen(data, 100) == list(range(ROWS))
    with pytest.raises(ValueError, match="at least two"):
        gate.chosen(data, 1)


def test_seeds_are_common_and_batches_do_not_matter(pipeline: Path, encoded: Path) -> None:
    family, data = load(pipeline), Encoded(encoded)

    def scores(pairs: list[int], size: int) -> torch.Tensor:
        progress = Progress(Recorder(), "gate", 1)
        return gate.scores(family, data, pairs, Drawing(2, 1.0, size), seed=5, progress=progress, stop=Stop())

    whole = scores([0, 3, 6, 9], 4)
    assert torch.equal(whole, scores([0, 3, 6, 9], 4))
    torch.testing.assert_close(scores([0, 3, 6, 9], 1), whole, atol=1e-4, rtol=1e-4)


def test_what_wins_is_what_training_without_a_gate_gives(inputs: dict[str, Path], tmp_path: Path) -> None:
    inputs = rivals_for(inputs, tmp_path / "rivals", WINS)
    heard = train(tmp_path / "gated", inputs, WINS)
    train(tmp_path / "plain", inputs, WINS | {"gate": False})
    assert same_bits(tmp_path / "gated" / "out", tmp_path / "plain" / "out")
    about = weights.about(tmp_path / "gated" / "out" / "weights")
    found = about["gate"]
    assert (found["accepted"], found["captions"], found["held_out"]) == (True, 3, False)
    assert found["after"] < found["before"]
    assert "kept" not in about
    assert "gate" not in weights.about(tmp_path / "plain" / "out" / "weights")
    ((level, text),) = messages(heard)
    assert (level, text[:29]) == ("info", "iteration 1 passes the gate: ")
    last = [line for line in heard.lines if line["type"] == "progress"][-1]
    assert (last["what"], last["step"]) == ("gate", last["of"])


@BOTH
def test_what_loses_gives_way_to_its_start(
    adapter: dict[str, Any], inputs: dict[str, Path], tmp_path: Path
) -> None:
    train(tmp_path / "1", inputs, adapter)
    start = inputs | {"weights": tmp_path / "1" / "out" / "weights"}
    hyper = adapter | LOSES
    second = rivals_for(start, tmp_path / "rivals", hyper, iteration=2)
    heard = train(tmp_path / "2", second, hyper, iteration=2)
    kept = tmp_path / "2" / "out" / "weights"
    assert same_bits(kept, start["weights"])
    assert not same_bits(kept, tmp_path / "2" / "checkpoints" / "step-00000004" / "weights")
    about = weights.about(kept)
    assert (about["iteration"], about["kept"], about["gate"]["accepted"]) == (2, 1, False)
    assert about["gate"]["after"] > about["gate"]["before"]
    ((level, text),) = messages(heard)
    assert level == "warn"
    assert text.startswith("iteration 2 loses at the gate, and the weights of iteration 1 are kept: ")


@BOTH
def test_a_first_iteration_that_loses_leaves_the_base(
    adapter: dict[str, Any], inputs: dict[str, Path], tmp_path: Path
) -> None:
    """As an adapter that changes nothing, or as the base's own weights; both can be gone on from."""
    hyper = adapter | LOSES
    heard = train(tmp_path / "1", inputs, hyper)
    kept = tmp_path / "1" / "out" / "weights"
    assert weights.about(kept)["kept"] == 0
    assert weights.kind_of(kept) == adapter["adapter"]
    assert "the weights of the base are kept" in messages(heard)[0][1]
    x, t, text = torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randn(2, 16, 16)
    with torch.no_grad():
        one, other = (
            load(inputs["base"], folder).denoiser(x, t, encoder_hidden_states=text).sample
            for folder in (None, kept)
        )
    assert torch.equal(one, other)
    second = rivals_for(inputs | {"weights": kept}, tmp_path / "rivals", adapter, iteration=2)
    assert train(tmp_path / "2", second, adapter, iteration=2).values("loss")[0] == pytest.approx(0.6931472)


def test_held_out_pictures_decide_where_there_are_any(
    inputs: dict[str, Path], dataset: Path, encoded: Path, tmp_path: Path
) -> None:
    """Of these the first six, encoded as training's are; so the numbers are those of the same rows there."""
    train(tmp_path, inputs | {"validation": dataset}, LOSES)
    found = weights.about(tmp_path / "out" / "weights")["gate"]
    assert (found["captions"], found["held_out"]) == (6, True)
    scored = gate.scores(
        load(inputs["base"]),
        Encoded(encoded),
        list(range(6)),
        Drawing(2, 1.0, 4),
        seed=5,
        progress=Progress(Recorder(), "gate", 1),
        stop=Stop(),
    )
    assert found["before"] == pytest.approx(float(scored.mean()), rel=1e-6)


def test_validation_without_a_gate_is_refused(inputs: dict[str, Path], dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="validation only for a gate"):
        train(tmp_path, inputs | {"validation": dataset}, {})
    assert not tmp_path.joinpath("out").exists()


def stopped(train_again: Callable[..., Recorder], heard: Callable[[Line], bool]) -> None:
    """Train until a line is heard, and be stopped."""
    stop = Stop()

    def listen(line: Line) -> None:
        stop.requested |= heard(line)

    with pytest.raises(Stopped):
        train_again(stop=stop, reporter=Recorder(listen))


@pytest.mark.parametrize(
    ("hyper", "at"),
    [(WINS, 20), *((LORA | LOSES, at) for at in (0, 8, 20))],
    ids=["wins-20", "loses-0", "loses-8", "loses-20"],
)
def test_stopped_at_the_gate_it_decides_the_same(
    hyper: dict[str, Any], at: int, inputs: dict[str, Path], dataset: Path, tmp_path: Path
) -> None:
    """Before anything is drawn, by theta_k, and by theta_k+1."""
    hyper = hyper | {"eval_samples": 6}
    inputs = rivals_for(inputs, tmp_path / "rivals", hyper) | {"validation": dataset}
    train(tmp_path / "whole", inputs, hyper)

    def again(**spec: Any) -> Recorder:
        return train(tmp_path / "stopped", inputs, hyper, **spec)

    steps = hyper.get("steps", 4)
    if at:
        stopped(again, lambda line: line.get("what") == "gate" and line["step"] >= at)
    else:
        stopped(again, lambda line: line["type"] == "checkpoint" and line["step"] == steps)
    newest = checkpoint.newest(tmp_path / "stopped" / "checkpoints")
    assert newest is not None
    assert newest.name == f"step-{steps:08d}"
    assert again(resume=newest).values("loss") == []
    one, other = tmp_path / "whole" / "out" / "weights", tmp_path / "stopped" / "out" / "weights"
    assert same_bits(one, other)
    assert (one / "weights.json").read_bytes() == (other / "weights.json").read_bytes()


def test_killed_while_the_start_takes_its_place_it_goes_on(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hyper = FULL | LOSES
    train(tmp_path / "whole", inputs, hyper)
    written: list[Path] = []
    describe = weights.describe

    def killed(folder: Path, about: dict[str, Any]) -> None:
        written.append(folder)
        if "kept" in about:
            raise KeyboardInterrupt
        describe(folder, about)

    monkeypatch.setattr(weights, "describe", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", inputs, hyper)
    monkeypatch.undo()
    assert (written[-1] / "unet").is_dir()
    assert not (written[-1] / "weights.json").exists()
    train(tmp_path / "killed", inputs, hyper, resume=checkpoint.newest(tmp_path / "killed" / "checkpoints"))
    assert same_bits(tmp_path / "whole" / "out", tmp_path / "killed" / "out")


def test_stopped_at_an_early_end_it_goes_on_to_the_gate(inputs: dict[str, Path], tmp_path: Path) -> None:
    """The stop falls into the step that ends the iteration early: training is over, the gate is not."""
    hyper = {"steps": 14, "draws": 1, "stop_at_accuracy": 0.5, "checkpoint_every": 4, "gate": True}
    inputs = rivals_for(inputs, tmp_path / "rivals", hyper)
    heard = train(tmp_path / "whole", inputs, hyper)
    last = len(heard.values("loss"))
    assert 10 <= last < 14

    def again(**spec: Any) -> Recorder:
        return train(tmp_path / "stopped", inputs, hyper, **spec)

    stopped(again, lambda line: line["type"] == "message" and "ends early" in line["text"])
    newest = checkpoint.newest(tmp_path / "stopped" / "checkpoints")
    assert newest is not None
    assert newest.name == f"step-{last:08d}"
    assert again(resume=newest).values("loss") == []
    one, other = tmp_path / "whole" / "out" / "weights", tmp_path / "stopped" / "out" / "weights"
    assert (one / "weights.json").read_bytes() == (other / "weights.json").read_bytes()
    assert weights.about(one)["stopped_early"] == {"step": last, "why": "accuracy"}
    assert same_bits(one, other)


ROUNDS: dict[str, Any] = FULL | {
    "sft_steps": 0,
    "sft_learning_rate": None,
    "n_iterations": 3,
    "steps": 3,
    "learning_rate": [1e-3, 1.0, 1e-3],
    "gate": True,
    "anchor": 1000.0,
    "beta": 1.0,
}


def test_a_job_goes_on_from_what_was_kept(pipeline: Path, dataset: Path, tmp_path: Path) -> None:
    """theta_2 loses, so theta_1 draws the third round's rivals and is its start; stops do not matter."""
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    run_job(job(pipeline, dataset, **ROUNDS), whole, Recorder(), Stop())
    folders = [whole / "work" / f"iteration-{k:02d}" / "trained" / "weights" for k in (1, 2, 3)]
    assert same_bits(folders[0], folders[1])
    assert not same_bits(folders[1], folders[2])
    found = [weights.about(folder) for folder in folders]
    assert [about["gate"]["accepted"] for about in found] == [True, False, True]
    assert [about.get("kept") for about in found] == [None, 1, None]
    report = json.loads((folders[1].parents[1] / "evaluation" / "report.json").read_text())
    assert report["gate"] == found[1]["gate"]
    for start, about in pairwise(zip(folders, found, strict=True)):
        assert about[1]["lineage"][-1]["start"] == sha256_of(start[0] / "weights.json")
    published = json.loads((whole / "model" / "spindle" / "lineage.json").read_text())
    assert published == found[2]["lineage"]
    stops = 0
    while not (pieces / "model").exists():
        stop, patience, lines = Stop(), 9 + 2 * stops, []

        def heard(line: Line, stop: Stop = stop, lines: list[Line] = lines, patience: int = patience) -> None:
            lines.append(line)
            stop.requested = len(lines) >= patience

        try:
            run_job(job(pipeline, dataset, **ROUNDS), pieces, Recorder(heard), stop)
        except Stopped:
            stops += 1
    assert stops > 3
    unet = "unet/diffusion_pytorch_model.safetensors"
    one, other = load_file(whole / "model" / unet), load_file(pieces / "model" / unet)
    assert all(torch.equal(one[name], other[name]) for name in one)
    again = json.loads((pieces / "model" / "spindle" / "lineage.json").read_text())
    assert again == published
