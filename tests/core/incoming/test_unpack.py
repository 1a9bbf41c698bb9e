"""Hostile and broken models: each is refused with what is wrong, and what is good is taken whole."""

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from core.incoming import headers
from core.incoming.headers import header_of
from core.incoming.unpack import LORA_FILE, Taken, unpack
from core.ingest.limits import BadArchive, Limits

Files = dict[str, bytes]
LIMITS = Limits(
    max_unpacked_bytes=50 << 20,
    max_unpack_ratio=200,
    max_entries=3000,
    max_picture_bytes=1,
    max_picture_pixels=1,
    max_caption_characters=1,
)


def tensors(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a file with this header, which need not be true."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(
    begin: int = 0, end: int = 8, *, shape: Any = (2,), kind: Any = "F32", **more: Any
) -> dict[str, Any]:
    return {
        "dtype": kind,
        "shape": list(shape) if isinstance(shape, tuple) else shape,
        "data_offsets": [begin, end],
    } | more


GOOD = tensors({"a": entry(), "__metadata__": {"format": "pt"}}, bytes(8))


def pipeline(**changes: bytes | None) -> Files:
    """Return a Stable Diffusion in small, of which files are changed, or left out."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "safety_checker": [None, None],
        "requires_safety_checker": False,
    }
    files: dict[str, bytes | None] = {
        "model_index.json": json.dumps(index).encode(),
        "vae/config.json": b'{"_class_name": "AutoencoderKL"}',
        "vae/diffusion_pytorch_model.safetensors": GOOD,
        "text_encoder/config.json": b'{"architectures": ["CLIPTextModel"]}',
        "text_encoder/model.safetensors": GOOD,
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"#version",
        "tokenizer/tokenizer_config.json": b'{"tokenizer_class": "CLIPTokenizer"}',
        "unet/config.json": b'{"_class_name": "UNet2DConditionModel"}',
        "unet/diffusion_pytorch_model.safetensors": GOOD,
        "scheduler/scheduler_config.json": b'{"_class_name": "PNDMScheduler"}',
    }
    return {name: data for name, data in (files | changes).items() if data is not None}


def index(**changes: Any) -> Files:
    files = pipeline()
    told = json.loads(files["model_index.json"]) | changes
    kept = {name: value for name, value in told.items() if value != "GONE"}
    return files | {"model_index.json": json.dumps(kept).encode()}


def zipped(files: Files, *, root: str = "") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(root + name, data)
    return sink.getvalue()


def tarred(files: Files, *members: tarfile.TarInfo) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return sink.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def take(data: bytes, folder: Path, limits: Limits = LIMITS) -> tuple[Taken, dict[str, bytes]]:
    """Unpack bytes; return what they are, and the files that were kept."""
    source, out = folder / "source", folder / "out"
    source.write_bytes(data)
    taken = unpack(source, out, limits=limits, progress=lambda *_: None)
    assert sorted(path.name for path in folder.iterdir()) == ["out", "source"]
    kept = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return taken, kept


@pytest.mark.parametrize(
    "packed",
    [
        zipped(pipeline()),
        zipped(pipeline(), root="my model/"),
        tarred(pipeline()),
        gzip.compress(tarred(pipeline())),
    ],
)
def test_a_pipeline_is_taken_whole(tmp_path: Path, packed: bytes) -> None:
    taken, kept = take(packed, tmp_path)
    assert (taken.kind, taken.tensors, taken.alpha) == ("pipeline", 3, None)
    assert kept == pipeline()


def test_what_does_not_belong_is_left_out(tmp_path: Path) -> None:
    more = {
        "README.md": b"# hello",
        "LICENSE.txt": b"MIT",
        ".gitattributes": b"*",
        "sample.png": b"png",
        "unet/diffusion_pytorch_model.fp16.safetensors": b"not even one",
        "unet/deep/er.json": b"{}",
        "spindle/judge/model.safetensors": b"not even one",
        "spindle/defaults.json": b"{}",
    }
    _, kept = take(zipped(pipeline() | more), tmp_path)
    assert kept == pipeline() | {"LICENSE.txt": b"MIT"}


@pytest.mark.parametrize(
    ("settings", "alpha"),
    [(None, None), ({"peft_type": "LORA", "lora_alpha": 16, "r": 8, "use_dora": False}, 16.0)],
)
def test_a_lora_is_taken_alone_or_with_the_settings_of_peft(
    tmp_path: Path, settings: Any, alpha: float | None
) -> None:
    files = {"fox/adapter_model.safetensors": GOOD}
    if settings is not None:
        files["fox/adapter_config.json"] = json.dumps(settings).encode()
    for number, data in enumerate((zipped(files), *([GOOD] if settings is None else []))):
        folder = tmp_path / str(number)
        folder.mkdir()
        taken, kept = take(data, folder)
        assert (taken.kind, taken.alpha, kept) == ("lora", alpha, {LORA_FILE: GOOD})


LIES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "is no safetensors file: it has 0 bytes"),
    ("cut in the length", b"\x08\0\0", "is no safetensors file: it has 3 bytes"),
    ("huge header", tensors({}, length=1 << 60), "its header is larger than"),
    ("header beyond the end", tensors({"a": entry()}, length=5000), "is cut off: its header alone has 5000"),
    ("no json", tensors(b"{nope"), "its header is not JSON"),
    ("deep json", tensors(b"[" * 200_000), "its header is not JSON"),
    ("a list", tensors([1]), "the header is no object"),
    ("nan", tensors(b'{"a": NaN}'), "NaN is no JSON"),
    ("names twice", tensors(b'{"a": 1, "a": 2}'), "a name stands twice"),
    ("nothing", tensors({}), "holds no tensors"),
    ("metadata of numbers", tensors({"__metadata__": {"x": 1}}), "must be texts"),
    ("fields more", tensors({"a": entry(code="x")}, bytes(8)), "must have a dtype, a shape and data_offsets"),
    (
        "no such type",
        tensors({"a": entry(kind="OBJECT")}, bytes(8)),
        "a is of type OBJECT; save it as one of",
    ),
    ("a type that is a list", tensors({"a": entry(kind=["F32"])}, bytes(8)), "save it as one of"),
    ("a shape of texts", tensors({"a": entry(shape=["2"])}, bytes(8)), "has a shape that is none"),
    ("a negative shape", tensors({"a": entry(shape=(-2,))}, bytes(8)), "has a shape that is none"),
    ("a boolean shape", tensors({"a": entry(shape=(True, 2))}, bytes(8)), "has a shape that is none"),
    ("a hundred axes", tensors({"a": entry(shape=(1,) * 100)}, bytes(8)), "has a shape that is none"),
    ("huge shape", tensors({"a": entry(shape=(1 << 40, 1 << 40))}, bytes(8)), "cannot have 8 bytes"),
    ("offsets backwards", tensors({"a": entry(8, 0)}, bytes(8)), "cannot have -8 bytes"),
    (
        "three offsets",
        tensors({"a": entry() | {"data_offsets": [0, 4, 8]}}, bytes(8)),
        "offsets that are none",
    ),
    ("overlapping", tensors({"a": entry(), "b": entry(4, 12)}, bytes(12)), "b overlaps another"),
    ("twice the same bytes", tensors({"a": entry(), "b": entry()}, bytes(8)), "b overlaps another"),
    ("a gap", tensors({"a": entry(8, 16)}, bytes(16)), "a leaves a gap before it"),
    ("more than told", tensors({"a": entry()}, bytes(9)), "tells of 8 bytes of tensors, but 9 follow"),
    ("fewer than told", tensors({"a": entry()}, bytes(7)), "tells of 8 bytes of tensors, but 7 follow"),
]


@pytest.mark.parametrize(("name", "data", "said"), LIES, ids=[name for name, _, _ in LIES])
def test_a_header_that_lies_is_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(BadArchive) as caught:
        take(data, tmp_path)
    assert said in str(caught.value), name
    assert list((tmp_path / "out").iterdir()) == []
    unet = {"unet/diffusion_pytorch_model.safetensors": data}
    packed = tmp_path / "packed"
    packed.mkdir()
    with pytest.raises(BadArchive) as caught:
        take(zipped(pipeline(**unet)), packed)
    assert "unet/diffusion_pytorch_model.safetensors" in str(caught.value)


class Evil:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/spindle-was-here",)


BOMB = zipped({"unet/x.safetensors": bytes(40 << 20)} | index())
HOSTILE: list[tuple[str, bytes, str]] = [
    ("pickle", pickle.dumps(Evil()), "the file is pickled, and pickles are never read"),
    ("torch zip", zipped({"archive/data.pkl": pickle.dumps(Evil())}), "archive/data.pkl is pickled"),
    (
        "bin",
        zipped(pipeline(**{"unet/diffusion_pytorch_model.bin": b"x"})),
        "diffusion_pytorch_model.bin is pickled",
    ),
    ("ckpt at the top", zipped(pipeline(**{"model.CKPT": b"x"})), "model.CKPT is pickled"),
    ("python", zipped(pipeline(**{"unet/evil.py": b"import os"})), "unet/evil.py is code"),
    ("library", zipped(pipeline(**{"x.so": b"\x7fELF"})), "x.so is code"),
    (
        "auto_map",
        zipped(pipeline(**{"text_encoder/config.json": b'{"a": [{"auto_map": {"AutoModel": "evil.M"}}]}'})),
        "text_encoder/config.json has auto_map: models that bring code",
    ),
    ("remote code", zipped(index(trust_remote_code=True)), "model_index.json has trust_remote_code"),
    (
        "quantized",
        zipped(pipeline(**{"unet/config.json": b'{"quantization_config": {"quant_method": "x"}}'})),
        "has quantization_config",
    ),
    (
        "custom pipeline",
        zipped(index(_class_name=["pipeline", "Mine"])),
        "names a ['pipeline', 'Mine']; supported: StableDiffusionPipeline",
    ),
    ("no pipeline", zipped(index(_class_name="AudioLDMPipeline")), "names a AudioLDMPipeline; supported"),
    (
        "strange part",
        zipped(index(controlnet=["diffusers", "ControlNetModel"])),
        "controlnet is ['diffusers', 'ControlNetModel']; a StableDiffusionPipeline has no such part",
    ),
    (
        "part of a module of its own",
        zipped(index(unet=["unet", "UNet2DConditionModel"])),
        "a StableDiffusionPipeline has UNet2DConditionModel",
    ),
    (
        "class elsewhere",
        zipped(index(tokenizer=["transformers", "AutoTokenizer"])),
        "has CLIPTokenizer or CLIPTokenizerFast",
    ),
    ("os", zipped(index(vae=["os", "system"])), "vae is ['os', 'system']"),
    ("a setting that is none", zipped(index(evil="x")), "evil is no setting of a StableDiffusionPipeline"),
    ("no unet listed", zipped(index(unet="GONE")), "lists no unet: the pipeline is not whole"),
    (
        "no unet there",
        zipped({n: d for n, d in pipeline().items() if not n.startswith("unet/")}),
        "the archive has no unet/",
    ),
    (
        "no weights",
        zipped(pipeline(**{"vae/diffusion_pytorch_model.safetensors": None})),
        "vae/ holds no .safetensors",
    ),
    (
        "config of another",
        zipped(pipeline(**{"unet/config.json": b'{"_class_name": "Other"}'})),
        "unet/config.json is of a Other",
    ),
    (
        "tokenizer of another",
        zipped(pipeline(**{"tokenizer/tokenizer_config.json": b'{"tokenizer_class": "Mine"}'})),
        "is of a Mine",
    ),
    (
        "config is no json",
        zipped(pipeline(**{"unet/config.json": b"\xff\xfe"})),
        "unet/config.json is not JSON",
    ),
    ("deep config", zipped(pipeline(**{"unet/config.json": b"[" * 100_000})), "unet/config.json is not JSON"),
    (
        "endless layers",
        zipped(pipeline(**{"unet/config.json": b'{"layers_per_block": [1, 10000]}'})),
        "unet/config.json: layers_per_block is 10000, but there are only 1 tensors",
    ),
    (
        "huge table",
        zipped(pipeline(**{"text_encoder/config.json": b'{"a": {"max_position_embeddings": 1e15}}'})),
        "text_encoder/config.json: max_position_embeddings is 1e+15, which no network",
    ),
    (
        "endless schedule",
        zipped(pipeline(**{"scheduler/scheduler_config.json": b'{"num_train_timesteps": 100000000000}'})),
        "num_train_timesteps is 1e+11",
    ),
    ("index is a list", zipped(pipeline(**{"model_index.json": b"[]"})), "model_index.json is no object"),
    (
        "shards elsewhere",
        zipped(pipeline(**{"unet/x.safetensors.index.json": b'{"weight_map": {"a": "../../etc/passwd"}}'})),
        "names ../../etc/passwd, which does not lie beside it",
    ),
    ("path outside", zipped(pipeline(**{"../evil.json": b"{}"})), "leaves the archive's folder"),
    ("absolute path", tarred(pipeline(**{"/etc/evil": b"{}"})), "is an absolute path"),
    (
        "link",
        tarred(pipeline(), link("unet/other.safetensors", "/etc/passwd")),
        "is a link: only plain files",
    ),
    ("bomb", BOMB, "unpacks to more than 200 times its packed size"),
    ("too much", tarred(pipeline(**{"vae/x.txt": bytes(60 << 20)})), "unpacks to more than"),
    ("many files", zipped(pipeline() | {f"{n}.txt": b"" for n in range(2100)}), "more than 2000 files"),
    (
        "pictures",
        zipped({"a.png": b"png", "metadata.jsonl": b"{}"}),
        "has no model_index.json, and none .safetensors: upload a zip or tar of a diffusers",
    ),
    ("two loras", zipped({"a.safetensors": GOOD, "b.safetensors": GOOD}), "and several .safetensors"),
    (
        "dora by its settings",
        zipped(
            {
                "a.safetensors": GOOD,
                "adapter_config.json": b'{"peft_type": "LORA", "lora_alpha": 1, "use_dora": true}',
            }
        ),
        "use_dora is not supported",
    ),
    (
        "alpha of nothing",
        zipped({"a.safetensors": GOOD, "adapter_config.json": b'{"peft_type": "LORA", "lora_alpha": 0}'}),
        "lora_alpha is not supported",
    ),
    ("cut zip", zipped(pipeline())[:-40], "the zip is damaged or cut off"),
    ("cut tar", tarred(pipeline())[:700], "the tar is damaged or cut off"),
    ("empty tar", tarred({}), "upload a zip or tar of a diffusers folder"),
    ("escapes in names", tarred({"\x1b[31mx.py": b""}), "this name is not a path"),
]


@pytest.mark.parametrize(("name", "data", "said"), HOSTILE, ids=[name for name, _, _ in HOSTILE])
def test_what_is_hostile_or_broken_is_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(BadArchive) as caught:
        take(data, tmp_path)
    assert said in str(caught.value), name
    assert str(caught.value).isprintable()
    assert not Path("/tmp/spindle-was-here").exists()  # noqa: S108  where the pickle would write


def test_a_file_of_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.safetensors": GOOD + bytes(500)}))
    place = data.index(b"a.safetensors") + len("a.safetensors") + 3
    data[place] ^= 0xFF
    with pytest.raises(BadArchive, match=r"a\.safetensors is damaged"):
        take(bytes(data), tmp_path)


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b"\0"])
def test_the_writer_of_safetensors_is_understood(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """Against the library's own writer, of every type that we take."""
    types = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32",
             "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}  # fmt: skip
    assert set(types) | {"BF16"} == set(headers.WIDTHS)
    raw = save(
        {name: np.zeros((3, 5), kind) for name, kind in types.items()} | {"none": np.zeros((0, 4), "float32")}
    )
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw)
    found = header_of(path, "a")
    assert found.shapes == dict.fromkeys(types, (3, 5)) | {"none": (0, 4)}
    path.write_bytes(change(raw))
    with pytest.raises(BadArchive, match="the header tells of"):
        header_of(path, "a")
