"""The weights folder: what training changed, and nothing else.

``full``: ``unet/`` or ``transformer/`` as diffusers saves it. ``lora``: ``pytorch_lora_weights.safetensors``
in diffusers' format, relative to the base. ``weights.json`` names the kind, where the weights come from and
the sha256 of each file.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from spin_engine.diffusion import derive_seed
from spin_engine.families.layout import Layout, Subfolder
from spin_engine.files import sha256_of, write_whole

Kind = Literal["full", "lora"]
ADAPTER = "spindle"
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
DESCRIPTION = "weights.json"


def kind_of(weights: Path) -> Kind:
    """Return the kind of a weights folder; ValueError if it is none."""
    if (weights / ADAPTER_FILE).is_file():
        return "lora"
    if any((weights / subfolder).is_dir() for subfolder in get_args(Subfolder)):
        return "full"
    raise ValueError(f"{weights} holds neither unet/ nor transformer/ nor {ADAPTER_FILE}")


def load(layout: Layout, base: Path, weights: Path | None, device: torch.device) -> Any:
    """Return the denoiser, frozen, in float32.

    Args:
        layout: of the family.
        base: folder of the pipeline.
        weights: a weights folder: a whole denoiser is loaded instead of the base's, an adapter beside it.
        device: where it goes.
    """
    kind = None if weights is None else kind_of(weights)
    denoiser = layout.denoiser.from_pretrained(
        weights if kind == "full" else base,
        subfolder=layout.subfolder,
        use_safetensors=True,
        torch_dtype=torch.float32,
    )
    denoiser.register_to_config(_name_or_path="")  # a path of this machine, which saving would tell
    if kind == "lora":
        assert weights is not None, "it is an adapter"
        return load_adapter(layout, denoiser, weights, device)
    return denoiser.requires_grad_(requires_grad=False).to(device)


def load_adapter(
    layout: Layout, denoiser: Any, weights: Path, device: torch.device, *, name: str = ADAPTER
) -> Any:
    """Put the adapter of a weights folder beside a denoiser's weights, and return it: frozen, on its device.

    Several stand side by side under names of their own; the last one loaded is at work (``use_adapter``).
    """
    with warnings.catch_warnings():
        # peft warns of a second adapter, which is what is wanted.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        denoiser.load_lora_adapter(
            str(weights),
            weight_name=ADAPTER_FILE,
            prefix=layout.subfolder,
            adapter_name=name,
            use_safetensors=True,
            local_files_only=True,
        )
    return denoiser.requires_grad_(requires_grad=False).to(device)


def use_adapter(denoiser: Any, name: str | None) -> None:
    """Let one adapter work, or with None the denoiser as it is."""
    if name is not None:
        denoiser.enable_adapters()
        denoiser.set_adapter(name)
    elif getattr(denoiser, "peft_config", None):
        denoiser.disable_adapters()


def drop_adapter(denoiser: Any, name: str) -> None:
    """Take an adapter away; with the last one, all traces of any."""
    if len(denoiser.peft_config) == 1:
        denoiser.unload_lora()
    else:
        denoiser.delete_adapters(name)


def add_adapter(layout: Layout, denoiser: Any, *, rank: int, seed: int) -> None:
    """Put a fresh LoRA adapter beside the attention projections; it changes nothing until it is trained."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "adapter"))
        settings = LoraConfig(
            r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(layout.lora_targets)
        )
        denoiser.add_adapter(settings, adapter_name=ADAPTER)


def adapter_rank(denoiser: Any) -> int | None:
    """Return the rank of the adapter in place, or None."""
    settings = getattr(denoiser, "peft_config", {}).get(ADAPTER)
    return None if settings is None else int(settings.r)


def merge_adapter(denoiser: Any) -> None:
    """Add the adapter, if there is one, to the weights it stands beside, and take it away."""
    if adapter_rank(denoiser) is not None:
        denoiser.fuse_lora(adapter_names=[ADAPTER])
        denoiser.unload_lora()


def save(
    layout: Layout,
    denoiser: Any,
    folder: Path,
    *,
    kind: Kind,
    about: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a weights folder.

    Args:
        layout: of the family.
        denoiser: not wrapped; with an adapter for ``lora``, without for ``full``.
        folder: made if it is not there.
        kind: what to write.
        about: more keys for ``weights.json`` (see ``describe``).
        state: what to write in the place of the denoiser's own tensors, by their names: of an adapter its
            layers, else all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "lora":
        layers = get_peft_model_state_dict(denoiser, state_dict=state, adapter_name=ADAPTER)
        write_adapter(layout, layers, folder)
    else:
        written = denoiser if state is None else _made_of(layout, denoiser.config, state)
        written.save_pretrained(folder / layout.subfolder, safe_serialization=True)
    describe(folder, about)


def write_adapter(layout: Layout, layers: Mapping[str, Tensor], folder: Path) -> None:
    """Write an adapter's layers, named as peft has them, in diffusers' layout."""
    named = dict(layers)
    if layout.subfolder == "unet":
        # U-Nets have names of their own for a LoRA's layers. Transformers keep peft's: the conversion
        # would rename only half of them, and diffusers then loads the other half alone.
        named = convert_state_dict_to_diffusers(named)
    layout.pipeline.save_lora_weights(folder, **{f"{layout.subfolder}_lora_layers": named})


def _made_of(layout: Layout, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    """Return a denoiser that holds these very tensors."""
    with torch.device("meta"):
        denoiser = layout.denoiser.from_config(config)
    denoiser.load_state_dict(state, assign=True)
    return denoiser


def describe(folder: Path, about: Mapping[str, Any]) -> None:
    """Write a weights folder's ``weights.json``, or write it anew: ``about``, kind and the files' sums."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DESCRIPTION)
    listed = {str(path.relative_to(folder)): sha256_of(path) for path in files}
    described = {"kind": kind_of(folder), **about, "sha256": listed}
    write_whole(folder / DESCRIPTION, (json.dumps(described, indent=2) + "\n").encode())


def about(folder: Path) -> dict[str, Any]:
    """Return what ``weights.json`` says beside the kind and the files' sums; nothing if there is none."""
    if not (folder / DESCRIPTION).is_file():
        return {}
    described = json.loads((folder / DESCRIPTION).read_text())
    return {name: value for name, value in described.items() if name not in ("kind", "sha256")}
