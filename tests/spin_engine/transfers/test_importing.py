"""What others wrote is imported, and draws as it draws in plain diffusers; what does not fit is refused."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from spin_engine.families.loader import load
from spin_engine.sampler import draw
from spin_engine.stopping import Stop
from spin_engine.transfer_spec import TRANSFER
from spin_engine.transfers import importing
from spin_engine.weights import ADAPTER_FILE
from tests.spin_engine.conftest import Recorder
from tests.spin_engine.transfers.conftest import FAMILIES, RANK, Tuned, distance, picture, plain
from tests.spin_engine.transfers.test_exporting import export
from tests.tiny_families import SIDE

Tensors = dict[str, Tensor]
GIB = 1 << 30


def take(files: Path, out: Path, given: str, base: Path | None = None, alpha: float | None = None) -> Any:
    """Import in this process, which must not be limited."""
    spec: Any = TRANSFER.validate_python(
        {"kind": "import", "given": given, "files": files, "base": base, "alpha": alpha, "out": out,
         "memory_bytes": 4 * GIB, "cpu_seconds": 60}
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    return importing.take_pipeline(spec) if given == "pipeline" else importing.take_lora(spec)


def lora_in(folder: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True)
    save_file(
        {name: value.contiguous() for name, value in tensors.items()}, folder / "given.safetensors", metadata
    )
    return folder


def drawn(base: Path, weights: Path | None) -> Any:
    """Return a picture as the engine draws it."""
    [found] = draw(
        load(base, weights), ["a red fox"], [""], [7], steps=2, guidance=2.0, height=SIDE, width=SIDE
    )
    return np.asarray(found).astype(int)


def kohya(made: Tuned, tmp_path: Path) -> Tensors:
    return load_file(export(made, tmp_path / "exported", "a1111"))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_was_exported_comes_back_as_it_was(
    tuned: Callable[[str], Tuned], tmp_path: Path, name: str
) -> None:
    made = tuned(name)
    forms = ("lora", "comfyui", "a1111") if name.startswith("sd-") else ("comfyui",)
    known = load_file(made.lora / ADAPTER_FILE)
    for form in forms:
        files = export(made, tmp_path / form, form).parent
        found = take(files, tmp_path / "out" / form, "lora", made.base)
        assert (found["kind"], found["ranks"]) == ("lora", [RANK])
        again = load_file(tmp_path / "out" / form / "weights" / ADAPTER_FILE)
        assert set(again) == set(known)
        assert all(torch.equal(again[key], value) for key, value in known.items())


def scaled(tensors: Tensors, *alphas: float) -> Tensors:
    """Return a kohya file whose layers have these alphas in turn, and one of which has another rank."""
    out = dict(tensors)
    for number, name in enumerate(sorted(name for name in tensors if name.endswith(".alpha"))):
        out[name] = torch.tensor(alphas[number % len(alphas)])
    first = next(name for name in sorted(tensors) if name.endswith("lora_down.weight"))
    up = first.replace("lora_down", "lora_up")
    out[first], out[up] = out[first][:2], out[up][:, :2]
    return out


@pytest.mark.parametrize("name", ["sd-epsilon", "sdxl"])
def test_an_alpha_and_ranks_of_kohya_are_kept(
    tuned: Callable[[str], Tuned], tmp_path: Path, name: str
) -> None:
    made = tuned(name)
    files = lora_in(tmp_path / "given", scaled(kohya(made, tmp_path), 1.5))
    found = take(files, tmp_path / "out", "lora", made.base)
    assert found["ranks"] == [2, RANK]
    pipeline = plain(made.base)
    pipeline.load_lora_weights(files, weight_name="given.safetensors")
    expected = picture(pipeline)
    pipeline.unload_lora_weights()
    pipeline.load_lora_weights(tmp_path / "out" / "weights")
    assert distance(picture(pipeline), expected) <= 1
    base, ours = drawn(made.base, None), drawn(made.base, tmp_path / "out" / "weights")
    assert distance(base, ours) > 10


def test_each_layer_has_the_alpha_of_its_own(tuned: Callable[[str], Tuned], tmp_path: Path) -> None:
    """Held against the formula: diffusers 0.42 takes one alpha for all attention layers of a kohya file."""
    made = tuned("sd-epsilon")
    given = scaled(kohya(made, tmp_path), 0.5, 1.5, 2.5)
    take(lora_in(tmp_path / "given", given), tmp_path / "out", "lora", made.base)
    ours = load_file(tmp_path / "out" / "weights" / ADAPTER_FILE)
    changes = {}
    for name in (name for name in ours if ".lora.down." in name):
        layer = "lora_" + name.removesuffix(".lora.down.weight").replace(".", "_")
        changes[layer] = ours[name.replace(".lora.down.", ".lora.up.")] @ ours[name]
    assert set(changes) == {name.partition(".")[0] for name in given}
    for layer, change_ in changes.items():
        down, up = given[f"{layer}.lora_down.weight"], given[f"{layer}.lora_up.weight"]
        expected = given[f"{layer}.alpha"] / len(down) * (up @ down)
        assert torch.allclose(change_, expected, atol=1e-6), layer


def test_peft_s_own_layout_and_an_alpha_that_is_told(tuned: Callable[[str], Tuned], tmp_path: Path) -> None:
    made = tuned("sd-epsilon")
    known = load_file(made.lora / ADAPTER_FILE)
    renamed = [name.removeprefix("unet.").replace("lora.down", "lora_A") for name in known]
    names = [f"base_model.model.{name.replace('lora.up', 'lora_B')}" for name in renamed]
    peft = dict(zip(names, known.values(), strict=True))
    files = lora_in(tmp_path / "given", peft)
    assert take(files, tmp_path / "out", "lora", made.base)["layout"] == "peft"
    again = load_file(tmp_path / "out" / "weights" / ADAPTER_FILE)
    assert all(torch.equal(again[key], value) for key, value in known.items())
    take(files, tmp_path / "half", "lora", made.base, alpha=RANK / 2)
    half = load_file(tmp_path / "half" / "weights" / ADAPTER_FILE)
    assert all(torch.allclose(half[key], value / (2 if ".up." in key else 1)) for key, value in known.items())


def test_diffusers_own_metadata_scales(tuned: Callable[[str], Tuned], tmp_path: Path) -> None:
    made = tuned("sd-epsilon")
    known = load_file(made.lora / ADAPTER_FILE)
    told = {"unet.r": RANK, "unet.lora_alpha": 2 * RANK, "unet.target_modules": ["to_q"], "unet.bias": "none"}
    files = lora_in(tmp_path / "given", known, {"lora_adapter_metadata": json.dumps(told)})
    take(files, tmp_path / "out", "lora", made.base)
    twice = load_file(tmp_path / "out" / "weights" / ADAPTER_FILE)
    assert all(
        torch.allclose(twice[key], value * (2 if ".up." in key else 1)) for key, value in known.items()
    )
    odd = lora_in(
        tmp_path / "odd", known, {"lora_adapter_metadata": json.dumps(told | {"unet.use_dora": True})}
    )
    with pytest.raises(ValueError, match="settings of peft are not understood: use_dora"):
        take(odd, tmp_path / "never", "lora", made.base)


@pytest.mark.parametrize("name", ["sd-epsilon", "sdxl"])
def test_a_lora_of_text_encoders_too_becomes_a_whole_pipeline(
    tuned: Callable[[str], Tuned], tmp_path: Path, name: str
) -> None:
    made = tuned(name)
    tensors = kohya(made, tmp_path)
    generator = torch.Generator().manual_seed(5)
    encoders = {"lora_te1": 16, "lora_te2": 24} if name == "sdxl" else {"lora_te": 16}
    for prefix, width in encoders.items():
        for layer in ("self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj", "self_attn_out_proj"):
            key = f"{prefix}_text_model_encoder_layers_0_{layer}"
            tensors[f"{key}.lora_down.weight"] = torch.randn(2, width, generator=generator)
            tensors[f"{key}.lora_up.weight"] = torch.randn(width, 2, generator=generator)
            tensors[f"{key}.alpha"] = torch.tensor(1.0)
    files = lora_in(tmp_path / "given", tensors)
    found = take(files, tmp_path / "out", "lora", made.base)
    assert (found["kind"], found["parts"][0]) == ("pipeline", "text_encoder")
    pipeline = plain(made.base)
    pipeline.load_lora_weights(files, weight_name="given.safetensors")
    assert distance(picture(plain(tmp_path / "out" / "model")), picture(pipeline)) <= 2


def without_half(tensors: Tensors) -> Tensors:
    gone = next(name for name in sorted(tensors) if name.endswith("lora_up.weight"))
    return {name: value for name, value in tensors.items() if name != gone}


def wide(tensors: Tensors) -> Tensors:
    name = next(name for name in sorted(tensors) if name.endswith("lora_down.weight"))
    return tensors | {name: torch.zeros(RANK, 999)}


def endless(tensors: Tensors) -> Tensors:
    name = next(name for name in sorted(tensors) if name.endswith("lora_up.weight"))
    return tensors | {name: torch.full_like(tensors[name], float("nan"))}


def elsewhere(tensors: Tensors) -> Tensors:
    return {
        name.replace("blocks_0", "blocks_7").replace("blocks_1", "blocks_8"): v for name, v in tensors.items()
    }


def dora(tensors: Tensors) -> Tensors:
    name = next(name for name in sorted(tensors) if name.endswith("lora_up.weight"))
    return tensors | {name.replace("lora_up.weight", "dora_scale"): torch.ones(4)}


def loha(_: Tensors) -> Tensors:
    return {"lora_unet_x.hada_w1_a": torch.ones(4, 4)}


def whole_model(_: Tensors) -> Tensors:
    return {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(4, 4)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_half, "the file is no LoRA for StableDiffusionPipeline"),
        (wide, "it is a LoRA for another model"),
        (endless, "holds numbers that are not finite"),
        (elsewhere, "the base model has no layer .* that a LoRA could stand beside"),
        (dora, "the file is a DoRA, which is not supported"),
        (loha, "the file is a LoHa, which is not supported"),
        (whole_model, "the file is no LoRA for StableDiffusionPipeline: its tensors are model.diffusion"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused(
    tuned: Callable[[str], Tuned], tmp_path: Path, spoil: Callable[[Tensors], Tensors], message: str
) -> None:
    made = tuned("sd-epsilon")
    files = lora_in(tmp_path / "given", spoil(kohya(made, tmp_path)))
    with pytest.raises(ValueError, match=message):
        take(files, tmp_path / "out", "lora", made.base)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", FAMILIES)
def test_a_pipeline_is_loaded_and_kept(tuned: Callable[[str], Tuned], tmp_path: Path, name: str) -> None:
    made = tuned(name)
    files = tmp_path / "given"
    shutil.copytree(made.base, files)
    found = take(files, tmp_path / "out", "pipeline")
    assert found["kind"] == "pipeline"
    assert distance(drawn(tmp_path / "out" / "model", None), drawn(made.base, None)) == 0


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def another_width(folder: Path) -> None:
    change(folder / "unet" / "config.json", block_out_channels=[32, 64])


def one_block_more(folder: Path) -> None:
    change(folder / "unet" / "config.json", layers_per_block=2)


def a_tensor_less(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors.pop(min(tensors))
    save_file(tensors, path)


def a_tensor_more(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    save_file(load_file(path) | {"text_model.evil.weight": torch.ones(2)}, path, {"format": "pt"})


def not_finite(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_in.bias"] = torch.full_like(tensors["conv_in.bias"], float("inf"))
    save_file(tensors, path)


def nonsense(folder: Path) -> None:
    change(folder / "unet" / "config.json", attention_head_dim=0)


def no_vocabulary(folder: Path) -> None:
    for path in (folder / "tokenizer").iterdir():
        path.write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (another_width, "unet (cannot be used|does not load)"),
        (one_block_more, "unet cannot be used: Cannot load  because up_blocks.0.resnets.1"),
        (a_tensor_less, "vae cannot be used: it lacks "),
        (a_tensor_more, "text_encoder cannot be used: it has, beyond its config, evil.weight"),
        (not_finite, "unet cannot be used: conv_in.bias holds numbers that are not finite"),
        (nonsense, "unet does not load: ZeroDivisionError"),
        (no_vocabulary, "tokenizer (cannot be used|does not load)"),
    ],
)
def test_a_pipeline_that_is_not_whole_is_refused(
    tuned: Callable[[str], Tuned], tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    files = tmp_path / "given"
    shutil.copytree(tuned("sd-epsilon").base, files)
    spoil(files)
    with pytest.raises(ValueError, match=message):
        take(files, tmp_path / "out", "pipeline")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_extras_of_a_base_come_along(tuned: Callable[[str], Tuned], tmp_path: Path) -> None:
    made = tuned("sd-epsilon")
    base, files = tmp_path / "base", tmp_path / "given"
    for folder in (base, files):
        shutil.copytree(made.base, folder)
    (base / "spindle").mkdir()
    (base / "spindle" / "defaults.json").write_text("{}")
    (base / "spindle" / "lineage.json").write_text("[]")
    take(files, tmp_path / "out", "pipeline", base)
    assert [path.name for path in (tmp_path / "out" / "model" / "spindle").iterdir()] == ["defaults.json"]


def test_a_whole_import_tells_what_it_found(
    tuned: Callable[[str], Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits are set in a unit's own process: here they would be this one's for ever."""
    limits: list[Any] = []
    monkeypatch.setattr("resource.setrlimit", lambda *told: limits.append(told))
    made = tuned("sd-epsilon")
    heard = Recorder()
    files = export(made, tmp_path / "given", "a1111").parent
    spec = {"kind": "import", "given": "lora", "files": files, "base": made.base, "out": tmp_path / "out",
            "memory_bytes": GIB, "cpu_seconds": 60}  # fmt: skip
    importing.run(TRANSFER.validate_python(spec), heard, Stop())  # type: ignore[arg-type]  # it is an import
    assert json.loads((tmp_path / "out" / "found.json").read_text())["layout"] == "kohya"
    assert len(limits) == 2
    assert [line["type"] for line in heard.lines] == ["progress"]


def in_a_process(work: Callable[[], object]) -> str:
    """Return what a forked process was refused with: its limits are its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(write, b"nothing")
        except ValueError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as told:
        return told.read()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_takes_too_much_is_the_files_fault() -> None:
    def fill() -> None:
        with importing._limited(GIB, 60):
            torch.ones(GIB, dtype=torch.float64)

    def grow() -> None:
        with importing._limited(GIB // 4, 60):
            bytearray(GIB)

    def spin() -> None:
        with importing._limited(GIB, 1):
            while True:
                pass

    assert in_a_process(fill) == "it needs more than 1024 MiB of memory to be loaded"
    assert in_a_process(grow) == "it needs more than 256 MiB of memory to be loaded"
    assert in_a_process(spin) == "it needs more than 1 seconds of processor time to be loaded"
