"""``import``: files from outside, whose names and headers were checked, are loaded; then they are a model."""

import json
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from spin_engine import weights as weights_folder
from spin_engine.device import is_out_of_memory
from spin_engine.families.layout import Layout
from spin_engine.families.loader import load
from spin_engine.reporter import Progress, Reporter
from spin_engine.stages.publish import copy_extras
from spin_engine.stopping import Stop
from spin_engine.transfer_spec import FOUND, ImportSpec
from spin_engine.transfers import lora

MODEL, WEIGHTS = "model", "weights"
LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
FORGOTTEN = ("position_ids",)
"""Ends of names of tensors that older files have, and that are computed now."""
GRACE_SECONDS = 10


class OutOfTime(BaseException):
    """The processor time is used up. No error: what handles the errors of a library must not stop it."""


def run(spec: ImportSpec, reporter: Reporter, stop: Stop) -> None:
    """Write ``model/`` (a pipeline) or ``weights/`` (of a LoRA) into ``spec.out``, and ``found.json``.

    Raises:
        ValueError: the files are no such thing, or need more than the limits.
    """
    stop.check()
    spec.out.mkdir(parents=True, exist_ok=True)
    progress = Progress(reporter, "import", 1)
    with _limited(spec.memory_bytes, spec.cpu_seconds):
        found = take_pipeline(spec) if spec.given == "pipeline" else take_lora(spec)
    (spec.out / FOUND).write_text(json.dumps(found))
    progress.advance()


@contextmanager
def _limited(memory: int, seconds: int) -> Iterator[None]:
    """Bound what the process may take from here on; what is over becomes the file's fault, not a crash."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    signal.signal(signal.SIGXCPU, _out_of_time)
    most = int(used) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + GRACE_SECONDS))
    try:
        yield
    except OutOfTime:
        raise ValueError(f"it needs more than {seconds} seconds of processor time to be loaded") from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or is_out_of_memory(error) or "can't allocate" in str(error):
            raise ValueError(f"it needs more than {memory >> 20} MiB of memory to be loaded") from error
        raise


def _out_of_time(_signal: int, _frame: object) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)  # it comes again each second, while this one is told
    raise OutOfTime


def take_pipeline(spec: ImportSpec) -> dict[str, Any]:
    """Load every part of a pipeline by its own class, and the whole; then keep its files.

    Raises:
        ValueError: a part does not load, or has not exactly the tensors that its config tells.
    """
    index = json.loads((spec.files / "model_index.json").read_text())
    listed = {name: value for name, value in index.items() if isinstance(value, list)}
    parts = {name: value for name, value in listed.items() if value[0] in LIBRARIES}
    for name, (library, kind) in parts.items():
        with _in_words(name):
            _load_part(spec.files, name, library, kind)
    with _in_words("the pipeline"):
        _load_whole(spec.files)
    model = spec.out / MODEL
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(spec.files, model, copy_function=os.link)
    if spec.base is not None and _kind_of(spec.base) == index["_class_name"]:
        copy_extras(spec.base, model)
    return {"kind": "pipeline", "pipeline": index["_class_name"], "parts": sorted(parts)}


def _kind_of(folder: Path) -> str | None:
    found = json.loads((folder / "model_index.json").read_text()).get("_class_name")
    return None if found is None else str(found)


def _load_part(folder: Path, name: str, library: str, kind: str) -> None:
    """Load one part; what has weights must have all of them, each of its size, and no others."""
    loader = getattr(LIBRARIES[library], kind)
    if not any((folder / name).glob("*.safetensors")):
        loader.from_pretrained(folder, subfolder=name, local_files_only=True)
        return
    more: dict[str, Any] = {"torch_dtype": "auto"} if library == "diffusers" else {"dtype": "auto"}
    model, told = loader.from_pretrained(
        folder, subfolder=name, local_files_only=True, use_safetensors=True, output_loading_info=True, **more
    )
    wrong = {
        "lacks": told["missing_keys"],
        "has, beyond its config,": [key for key in told["unexpected_keys"] if not key.endswith(FORGOTTEN)],
        "has in another size": told.get("mismatched_keys") or [],
    }
    for word, keys in wrong.items():
        if keys:
            shown = ", ".join(str(key) for key in sorted(keys, key=str)[:3])
            raise ValueError(f"it {word} {shown}"[:300])
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{key} holds numbers that are not finite")


def _load_whole(folder: Path) -> None:
    """Load the pipeline as plain diffusers does, and as the engine does."""
    DiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True, torch_dtype="auto")
    family = load(folder)
    family.latent_shape(family.resolution, family.resolution)


@contextmanager
def _in_words(what: str) -> Iterator[None]:
    """Turn what a library raises over a file into what a person can act on."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what} cannot be used: {error}"[:800]) from error
    except MemoryError:
        raise
    except Exception as error:  # whatever a config makes a library do is the config's fault
        if is_out_of_memory(error) or "can't allocate" in str(error):
            raise
        raise ValueError(f"{what} does not load: {type(error).__name__}: {error}"[:800]) from error


def take_lora(spec: ImportSpec) -> dict[str, Any]:
    """Bring a LoRA file to diffusers' layout with alpha = rank, and check it against its base model.

    What has layers of text encoders too becomes a whole pipeline, merged: weights folders are of denoisers.

    Raises:
        ValueError: it is no LoRA for this base model.
    """
    assert spec.base is not None, "a LoRA is for a base model"
    [path] = [each for each in spec.files.iterdir() if each.suffix == ".safetensors"]
    layout = load(spec.base).layout
    config = json.loads((spec.base / layout.subfolder / "config.json").read_text())
    try:
        tensors, metadata = lora.read(path)
    except SafetensorError as error:
        raise ValueError(f"the file is no safetensors file: {error}") from error
    parts, written = lora.inside(tensors, metadata, layout, config, spec.alpha)
    layers = parts.get(layout.subfolder, {})
    if layers:
        with torch.device("meta"):
            lora.require_places(layers, layout.denoiser.from_config(config))
    downs = (value for part in parts.values() for key, value in part.items() if ".lora_A." in key)
    ranks = sorted({int(value.shape[0]) for value in downs})
    found = {
        "kind": "lora",
        "pipeline": layout.pipeline.__name__,
        "layout": written,
        "ranks": ranks,
        "layers": sum(len(part) // 2 for part in parts.values()),
        "parts": sorted(parts),
    }
    about = {"imported": {name: found[name] for name in ("layout", "ranks", "layers")}}
    if set(parts) == {layout.subfolder}:
        _write_weights(layout, lora.uniform(layers), spec.out / WEIGHTS, about)
        return found
    _merge(spec.base, parts, spec.out / MODEL)
    return found | {"kind": "pipeline"}


def _write_weights(layout: Layout, layers: lora.Tensors, folder: Path, about: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights_folder.write_adapter(layout, layers, folder)
    weights_folder.describe(folder, about)


def _merge(base: Path, parts: dict[str, lora.Tensors], model: Path) -> None:
    """Write the base's pipeline with a LoRA added to its parts' weights."""
    pipeline = DiffusionPipeline.from_pretrained(base, local_files_only=True, use_safetensors=True)
    named = {f"{part}.{name}": value for part, layers in parts.items() for name, value in layers.items()}
    pipeline.load_lora_weights(named, adapter_name=weights_folder.ADAPTER)
    for part, layers in parts.items():
        end, given = f"lora_A.{weights_folder.ADAPTER}", len(layers) // 2
        taken = sum(name.endswith(end) for name, _ in getattr(pipeline, part).named_modules())
        if taken != given:
            raise ValueError(f"{part} of the base model has places for {taken} of {given} layers")
    pipeline.fuse_lora(components=sorted(parts), adapter_names=[weights_folder.ADAPTER])
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(model, safe_serialization=True)
    copy_extras(base, model)
