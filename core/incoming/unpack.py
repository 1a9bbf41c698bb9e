"""A file from outside becomes a folder of plain files that were checked: a pipeline, or one LoRA.

Only names, headers and configs are read here; the engine then loads what is left, in another process.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from core.incoming import pipelines
from core.incoming.headers import header_of
from core.ingest import archives
from core.ingest.archives import Archive, open_archive
from core.ingest.limits import BadArchive, BadRow, Limits, printable

INDEX = "model_index.json"
SETTINGS = "adapter_config.json"
SETTINGS_OF_PARTS = ("config.json", "scheduler_config.json")
LORA_FILE = "given.safetensors"
CODE = frozenset(
    (".py", ".pyc", ".pyi", ".pyx", ".ipynb", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".ps1", ".js")
)
PICKLED = frozenset(
    (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".msgpack", ".h5", ".npy", ".npz", ".joblib", ".ot")
)
TEXTS = (".json", ".txt", ".model")
WEIGHTS = ".safetensors"
KEPT_AT_TOP = ("LICENSE", "LICENCE", "NOTICE")
LARGEST_TEXT = 64 << 20
LARGEST_CONFIG = 4 << 20
MOST_FILES = 2000
WANTED = "upload a zip or tar of a diffusers folder, or a LoRA as one .safetensors file"
ZIP, GZIP, TAR = b"PK", b"\x1f\x8b", b"ustar"
TAR_AT = 257

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Taken:
    """What a file turned out to be. ``alpha`` is what a LoRA's settings tell, if they lay beside it."""

    kind: Literal["pipeline", "lora"]
    files: int
    bytes: int
    tensors: int
    alpha: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def unpack(path: Path, out: Path, *, limits: Limits, progress: Progress) -> Taken:
    """Write the files of a model into ``out``.

    Raises:
        BadArchive: it is no model that is taken, and why.
    """
    out.mkdir(parents=True)
    try:
        if not _is_archive(path):
            return _single(path, out)
        with open_archive(path, scratch=out.parent, limits=limits) as archive:
            return _archived(archive, out, progress)
    except BadRow as error:
        raise BadArchive(str(error)) from error
    except BadArchive as error:
        raise BadArchive(str(error).replace(archives.WANTED, WANTED)) from error


def _is_archive(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(TAR_AT + len(TAR))
    return start.startswith((ZIP, GZIP)) or start[TAR_AT:] == TAR


def _single(path: Path, out: Path) -> Taken:
    with path.open("rb") as stream:
        start = stream.read(2)
    if start[:1] == b"\x80":
        raise BadArchive(f"the file is pickled, and pickles are never read: {WANTED}")
    try:
        header = header_of(path, "the file")
    except BadArchive as error:
        raise BadArchive(f"{error}: {WANTED}") from error
    (out / LORA_FILE).hardlink_to(path)
    return Taken("lora", 1, header.bytes, len(header.shapes))


def _archived(archive: Archive, out: Path, progress: Progress) -> Taken:
    for name in archive.sizes:
        _check_name(name)
    if len(archive.sizes) > MOST_FILES:
        raise BadArchive(f"the archive has more than {MOST_FILES} files: a model's folder has fewer")
    indices = [name for name in archive.sizes if PurePosixPath(name).name == INDEX]
    if not indices:
        return _packed_lora(archive, out)
    index = min(indices, key=lambda name: (name.count("/"), name))
    return _pipeline(archive, out, index.removesuffix(INDEX), progress)


def _check_name(name: str) -> None:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in CODE:
        raise BadArchive(f"{name} is code: models that bring code of their own are not taken")
    if suffix in PICKLED:
        raise BadArchive(f"{name} is pickled: leave it out, and save the weights as safetensors")


def _packed_lora(archive: Archive, out: Path) -> Taken:
    """Take the one safetensors file of an archive, and what peft's settings beside it tell of its alpha."""
    found = [name for name in archive.sizes if name.endswith(WEIGHTS)]
    if len(found) != 1:
        what = "several" if found else "none"
        raise BadArchive(f"the archive has no {INDEX}, and {what} .safetensors: {WANTED}")
    archive.save(found[0], out / LORA_FILE, at_most=archive.sizes[found[0]])
    header = header_of(out / LORA_FILE, found[0])
    settings = str(PurePosixPath(found[0]).with_name(SETTINGS))
    alpha = None
    if settings in archive.sizes:
        (out / SETTINGS).write_bytes(archive.read(settings, at_most=LARGEST_CONFIG))
        alpha = _alpha(pipelines.read_json(out / SETTINGS, settings), settings)
        (out / SETTINGS).unlink()
    return Taken("lora", 1, header.bytes, len(header.shapes), alpha)


def _alpha(settings: Any, name: str) -> float:
    """Return the alpha of peft's settings; BadArchive when they say more than we would do."""
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        raise BadArchive(f"{name} is not of a LoRA")
    odd = [key for key in ("use_dora", "use_rslora", "alpha_pattern", "lora_bias") if settings.get(key)]
    alpha = settings.get("lora_alpha")
    if odd or not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1 << 20:
        raise BadArchive(f"{name}: {', '.join(odd) or 'lora_alpha'} is not supported as it is")
    return float(alpha)


def _pipeline(archive: Archive, out: Path, root: str, progress: Progress) -> Taken:
    (out / INDEX).write_bytes(archive.read(root + INDEX, at_most=LARGEST_CONFIG))
    parts = pipelines.parts_of(pipelines.read_json(out / INDEX, INDEX))
    wanted = {
        name: inner
        for name in archive.sizes
        if name.startswith(root) and _belongs(inner := PurePosixPath(name.removeprefix(root)), parts)
    }
    total = sum(archive.sizes[name] for name in wanted)
    done = 0
    for name, inner in wanted.items():
        target = out / inner
        target.parent.mkdir(exist_ok=True)
        most = archive.sizes[name] if inner.suffix == WEIGHTS else LARGEST_TEXT
        archive.save(name, target, at_most=most)
        done += archive.sizes[name]
        progress(done, total)
    tensors = sum(_check_part(out / name, name, parts[name]) for name in parts)
    return Taken("pipeline", len(wanted) + 1, total, tensors)


def _belongs(path: PurePosixPath, parts: dict[str, tuple[str, str]]) -> bool:
    """Tell whether a file is of the pipeline; a second copy of weights in another type is not."""
    if len(path.parts) == 1:
        return path.name.upper().startswith(KEPT_AT_TOP) and path.suffix in ("", ".txt", ".md")
    variant = any(f".{word}" in path.name for word in ("fp16", "bf16", "non_ema", "ema_only"))
    plain = len(path.parts) == len(("part", "file")) and path.suffix in (*TEXTS, WEIGHTS)
    return path.parts[0] in parts and plain and not variant


def _check_part(folder: Path, name: str, part: tuple[str, str]) -> int:
    """Check a part's configs and headers, and return how many tensors it has."""
    if not folder.is_dir():
        raise BadArchive(f"the archive has no {name}/, which {INDEX} lists")
    files = {path.name: path for path in sorted(folder.iterdir())}
    weights = [path for path in files.values() if path.suffix == WEIGHTS]
    tensors = sum(len(header_of(path, f"{name}/{path.name}").shapes) for path in weights)
    for file, path in files.items():
        if path.suffix == ".json":
            found = _check_json(path, f"{name}/{file}", part[1], files)
            if file in SETTINGS_OF_PARTS:
                pipelines.check_size(found, f"{name}/{file}", tensors=tensors)
    if name in pipelines.HAVE_WEIGHTS and not tensors:
        raise BadArchive(f"{name}/ holds no .safetensors: save the pipeline with safe_serialization=True")
    return tensors


def _check_json(path: Path, shown: str, kind: str, there: dict[str, Path]) -> Any:
    """Return a part's JSON file, checked as what it is by its name."""
    found = pipelines.read_json(path, printable(shown, at_most=200))
    if path.name in SETTINGS_OF_PARTS:
        pipelines.check_config(found, shown, kind)
    elif path.name == "tokenizer_config.json":
        pipelines.check_tokenizer(found, shown, kind)
    elif path.name.endswith(f"{WEIGHTS}.index.json"):
        pipelines.check_shards(found, shown, there)
    return found
