"""Where a metric's network comes from: a folder or the hub, and safetensors in either case.

A pickle can run any program when it is read, so none ever is; a published pickle has to be converted once,
by someone who trusts it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from spin_engine.metrics.choice import HUB_ID

FILE = "model.safetensors"
MAIN = "main"
"""The revision of a hub repository where none is asked for."""
CONVERT = (
    'python -c "import sys, torch; from safetensors.torch import save_file; '
    "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); w = w.get('state_dict', w); "
    'save_file({k: v.clone().contiguous() for k, v in w.items()}, sys.argv[2])" THE_PICKLE ' + FILE
)


def is_hub_id(model: str) -> bool:
    """Return whether a name is ``owner/name`` on the hub, not a path."""
    return HUB_ID.fullmatch(model) is not None and not Path(model).exists()


def place(model: str) -> str:
    """Return what ``from_pretrained`` takes: the folder, or the hub id; ValueError if it is neither."""
    if is_hub_id(model):
        return model
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{model} is neither a folder nor a hub id")
    return str(folder)


def weights(model: str, revision: str | None) -> dict[str, Tensor]:
    """Return the tensors of ``model.safetensors``, in a folder or a hub repository, on the CPU.

    Raises:
        ValueError: there is none; the text says how to make one from a pickle.
    """
    where = place(model)
    with reasons(model):
        path = hf_hub_download(where, FILE, revision=revision) if is_hub_id(model) else Path(where) / FILE
        return load_file(path)


@contextmanager
def reasons(model: str) -> Iterator[None]:
    """Turn the failure to read a network or what belongs to it into a sentence that helps."""
    try:
        yield
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, SafetensorError) as error:
        raise ValueError(
            f"{model} cannot be read: {error}\nOnly safetensors are, never pickles (.pt, .pth, .bin): "
            f"convert one that you trust, once, with\n{CONVERT}"
        ) from error
