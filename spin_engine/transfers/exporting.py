"""``export``: a model becomes a zip of its diffusers folder, or one LoRA file."""

import json
import shutil
import tempfile
import zipfile
from pathlib import Path

from safetensors.torch import save_file

from spin_engine import weights as weights_folder
from spin_engine.families.layout import Layout
from spin_engine.families.loader import load
from spin_engine.reporter import Progress, Reporter
from spin_engine.stages.publish import PICKLED, publish
from spin_engine.stopping import Stop
from spin_engine.transfer_spec import ExportSpec
from spin_engine.transfers import lora

CARD = "README.md"
PREVIEWS = "previews"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Of every file in a zip, so that the same model is the same bytes."""
CHUNK = 4 << 20


def run(spec: ExportSpec, reporter: Reporter, stop: Stop) -> None:
    """Write ``spec.filename`` into ``spec.out``.

    Raises:
        ValueError: the model has no such form.
    """
    stop.check()
    spec.out.mkdir(parents=True, exist_ok=True)
    target = spec.out / spec.filename
    progress = Progress(reporter, "export", 1)
    if spec.format == "diffusers":
        _write_folder(spec, target, stop)
    else:
        _write_lora(spec, target)
    progress.advance()


def _write_folder(spec: ExportSpec, target: Path, stop: Stop) -> None:
    """Write a zip of a complete pipeline with its card. Stored, not deflated: weights do not compress."""
    with tempfile.TemporaryDirectory(prefix="spindle-export-", dir=spec.out.parent) as scratch:
        folder = spec.base
        if spec.weights is not None:
            folder = Path(scratch) / "model"
            publish(spec.base, spec.weights, folder)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            archive.writestr(_entry(CARD), spec.card)
            for path in _files(folder):
                if path.relative_to(folder).as_posix() != CARD:
                    stop.check()
                    _add(archive, path, path.relative_to(folder).as_posix())
            for path in [] if spec.previews is None else _files(spec.previews):
                _add(archive, path, f"{PREVIEWS}/{path.name}")


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder that belong to a pipeline: nothing pickled, nothing of git's."""

    def belongs(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return path.is_file() and path.suffix not in PICKLED and not hidden

    return sorted(filter(belongs, folder.rglob("*")))


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=LONG_AGO)
    entry.external_attr = 0o644 << 16
    return entry


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    with path.open("rb") as source, archive.open(_entry(name), "w", force_zip64=True) as sink:
        shutil.copyfileobj(source, sink, CHUNK)


def _write_lora(spec: ExportSpec, target: Path) -> None:
    layout = load(spec.base).layout
    layers, _ = lora.read(adapter_of(spec.base, spec.weights))
    config = json.loads((spec.base / layout.subfolder / "config.json").read_text())
    metadata = lora.described(layout, config, layers, spec.title)
    if spec.format == "lora" or (spec.format == "comfyui" and layout.subfolder == "transformer"):
        # ComfyUI reads a transformer's layers by diffusers' names.
        save_file({name: value.contiguous() for name, value in layers.items()}, target, metadata=metadata)
        return
    require_kohya(layout)
    one = not (spec.base / "text_encoder_2").is_dir()
    save_file(lora.to_kohya(layers, one_text_encoder=one), target, metadata=metadata)


def adapter_of(base: Path, weights: Path | None) -> Path:
    """Return the file of a model's adapter; ValueError when it has none."""
    path = (weights or base) / weights_folder.ADAPTER_FILE
    if not path.is_file():
        raise ValueError("the model has no LoRA: all its weights were trained; export it as diffusers")
    return path


def require_kohya(layout: Layout) -> None:
    """Raise ValueError for a family whose LoRA AUTOMATIC1111 does not read."""
    if layout.subfolder != "unet":
        raise ValueError(
            f"AUTOMATIC1111 reads no LoRA of a {layout.pipeline.__name__}: export it for ComfyUI, or as "
            "diffusers has it"
        )
