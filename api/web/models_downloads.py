"""The forms in which a model can be had, and how the file of each stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.models import ExportFormat, ModelExport, TransferState
from core.transfers import exports

LOOKED_AT = 40
FORMATS = {
    ExportFormat.diffusers: ("diffusers", "The whole pipeline as a folder, in a zip."),
    ExportFormat.lora: ("diffusers, LoRA", "The trained weights alone, for load_lora_weights."),
    ExportFormat.comfyui: ("ComfyUI", "The LoRA in one file, in the layout of ComfyUI."),
    ExportFormat.a1111: ("AUTOMATIC1111", "The LoRA in one file, in the layout of the web UI."),
}


@dataclass(frozen=True)
class Download:
    """A form, in a word and a sentence, with the newest file of it; None: nobody has asked for one."""

    format: ExportFormat
    label: str
    told: str
    row: ModelExport | None

    @property
    def coming(self) -> bool:
        """Whether a worker makes it."""
        return self.row is not None and self.row.state is TransferState.pending


def downloads(session: Session, *, project_id: str, model_id: str) -> Sequence[Download]:
    """Return every form that a model may have."""
    found = exports.list_exports(session, project_id=project_id, model=model_id, after=None, limit=LOOKED_AT)
    newest: dict[ExportFormat, ModelExport] = {}
    for row in found.items:
        newest.setdefault(row.format, row)
    return [Download(form, label, told, newest.get(form)) for form, (label, told) in FORMATS.items()]
