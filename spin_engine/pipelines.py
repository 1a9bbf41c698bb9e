"""From a name to the folder of a pipeline: a folder here, a hub id, or an address in an object store.

Only what diffusers reads of a pipeline is fetched: its configs, vocabularies and safetensors, and the base's
own defaults and judge in ``spindle/``. Nothing pickled ever is.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from spin_engine.files import move_folder
from spin_engine.store import Store, is_remote

INDEX = "model_index.json"
SUFFIXES = (".json", ".txt", ".model", ".safetensors")
VARIANT = re.compile(r"\.(fp16|bf16|non_ema|ema_only)[.-]")
"""In the name of a second copy of the same weights."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def folder_of(name: str) -> Path:
    """Return the folder of a pipeline, fetching it if it is not here yet.

    Args:
        name: a folder; a hub id, ``ORG/NAME`` or ``ORG/NAME@REVISION`` (a branch, tag or commit), which
            huggingface_hub fetches and keeps by its own settings (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE,
            HF_TOKEN); or a URI such as ``s3://bucket/path``, kept in HF_ASSETS_CACHE until it changes.

    Raises:
        ValueError: there is no such pipeline, or it cannot be had from here.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if is_remote(name):
        return _from_store(name)
    hub_id, _, revision = name.partition("@")
    if HUB_ID.fullmatch(hub_id) is None or name.startswith((".", "~")):
        raise ValueError(f"{name} is not a folder, nor ORG/NAME of a hub, nor a URI")
    return _from_hub(hub_id, revision or None)


def components(index: Path) -> list[str]:
    """Return the names of the subfolders that a pipeline's ``model_index.json`` lists."""
    raw = json.loads(index.read_text())
    listed = [name for name, value in raw.items() if isinstance(value, list) and value[0] is not None]
    return [name for name in listed if name.isidentifier()]


def _from_hub(hub_id: str, revision: str | None) -> Path:
    try:
        index = Path(hf_hub_download(hub_id, INDEX, revision=revision))
        allowed = [INDEX, "spindle/*.json", "spindle/*.safetensors"]
        allowed += [f"{name}/*{suffix}" for name in components(index) for suffix in SUFFIXES]
        ignored = ["*.fp16.*", "*.fp16-*", "*.bf16.*", "*.bf16-*", "*.non_ema.*", "*.ema_only.*"]
        commit = index.parent.name
        return Path(
            snapshot_download(hub_id, revision=commit, allow_patterns=allowed, ignore_patterns=ignored)
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        at = f" at {revision}" if revision else ""
        raise ValueError(f"the hub {constants.ENDPOINT} has no {hub_id}{at}, or not for you") from error
    except (LocalEntryNotFoundError, IncompleteSnapshotError) as error:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} does not answer"
        raise ValueError(f"{hub_id} is not whole in the cache of this machine, and {why}") from error
    except EntryNotFoundError as error:
        raise ValueError(f"{hub_id} is not a diffusers pipeline: it has no {INDEX}") from error
    except HfHubHTTPError as error:
        raise ValueError(f"{hub_id} cannot be fetched from {constants.ENDPOINT}: {error}") from error


def _from_store(uri: str) -> Path:
    store = Store(uri)
    try:
        names = store.names()
    except OSError as error:
        raise ValueError(f"{uri} cannot be read: {error}") from error
    if INDEX not in names:
        raise ValueError(f"{uri} is not a diffusers pipeline: it has no {INDEX}")
    root = Path(constants.HF_ASSETS_CACHE) / "spindle" / "pipelines"
    partial = root / f".{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _copy(store, INDEX, partial)
    wanted = sorted(_wanted(names, {*components(partial / INDEX), "spindle"}))
    contents = "\n".join([uri, *(f"{name} {store.fingerprint(name)}" for name in (INDEX, *wanted))])
    final = root / hashlib.sha256(contents.encode()).hexdigest()[:32]
    if not final.is_dir():
        for name in wanted:
            _copy(store, name, partial)
    if final.is_dir():
        shutil.rmtree(partial)
    else:
        move_folder(partial, final)
    return final


def _wanted(names: Iterable[str], folders: set[str]) -> Iterable[str]:
    """Yield the names of files in some folders that are of use, and harmless."""
    for name in names:
        path = PurePosixPath(name)
        inside = len(path.parts) > 1 and path.parts[0] in folders and ".." not in path.parts
        if inside and path.suffix in SUFFIXES and VARIANT.search(path.name) is None:
            yield name


def _copy(store: Store, name: str, folder: Path) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.open(name) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, 2**22)
