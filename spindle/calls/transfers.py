"""Exports, imports and cards of ``/v1/models``."""

from collections.abc import Sequence

from spindle import registered
from spindle.call import Call, Listing, Plan, known, post
from spindle.call import get as _get
from spindle.calls.models import PATH
from spindle.calls.waiting import until

LOOK_SECONDS = 1.0
FORMATS: Sequence[str] = ("diffusers", "lora", "comfyui", "a1111")


def export(name: str, *, format: str = "diffusers") -> Call[registered.Export]:  # noqa: A002  as the API has it
    """Let a model be written for other programs, unless it is there already.

    Args:
        name: of the model.
        format: ``diffusers``: a zip of its folder; ``lora``, ``comfyui``, ``a1111``: one LoRA file.
    """
    return post(registered.Export, f"{PATH}/{name}/exports", {"format": format})


def get_export(name: str, format: str) -> Call[registered.Export]:  # noqa: A002  as the API has it
    """Return a model's newest export in a form."""
    return _get(registered.Export, f"{PATH}/{name}/exports/{format}")


def exports(name: str, *, limit: int | None = None) -> Listing[registered.Export]:
    """Yield a model's exports, newest first."""
    return Listing(registered.Export, f"{PATH}/{name}/exports", limit)


def wait_for_export(
    name: str,
    format: str,  # noqa: A002  as the API has it
    *,
    timeout: float | None = None,
    poll: float = LOOK_SECONDS,
) -> Plan[registered.Export]:
    """Wait until an export is ready or has failed; WaitedTooLongError after ``timeout`` seconds."""
    return until(get_export(name, format), lambda found: found.finished, timeout=timeout, poll=poll)


def import_(
    file_id: str,
    *,
    name: str | None = None,
    base_model: str | None = None,
    alpha: float | None = None,
    licence: str | None = None,
    notes: str | None = None,
) -> Call[registered.Import]:
    """Let an uploaded file become a model.

    Args:
        file_id: a zip or tar of a diffusers folder, or a LoRA.
        name: becomes a part of the model's name.
        base_model: what a LoRA is for.
        alpha: of a LoRA whose file does not tell it.
        licence: of the model.
        notes: what people should know of it.
    """
    told = {"file": file_id, "name": name, "base_model": base_model, "alpha": alpha}
    return post(registered.Import, f"{PATH}/imports", known(told | {"licence": licence, "notes": notes}))


def get_import(import_id: str) -> Call[registered.Import]:
    """Return an import."""
    return _get(registered.Import, f"{PATH}/imports/{import_id}")


def imports(*, limit: int | None = None) -> Listing[registered.Import]:
    """Yield imports, newest first."""
    return Listing(registered.Import, f"{PATH}/imports", limit)


def wait_for_import(
    import_id: str, *, timeout: float | None = None, poll: float = LOOK_SECONDS
) -> Plan[registered.Import]:
    """Wait until an import is a model or was refused; WaitedTooLongError after ``timeout`` seconds."""
    return until(get_import(import_id), lambda found: found.finished, timeout=timeout, poll=poll)


def card(name: str) -> Call[registered.Card]:
    """Return a model's card, and the facts that it was written from."""
    headers = {"Accept": "application/json"}
    return Call("GET", f"{PATH}/{name}/card", registered.Card.model_validate, headers=headers)
