"""Scripts, styles and drawings of the pages, under an address that changes with their content."""

import hashlib
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from core.errors import NotFound
from core.report import chart

FOLDER = Path(__file__).with_name("static")
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {
    path.name: path.read_bytes() for path in [*sorted(FOLDER.iterdir()), chart.STYLE] if path.suffix in KINDS
}
VERSION = hashlib.sha256(b"".join(name.encode() + data for name, data in FILES.items())).hexdigest()[:12]
FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


def address_of(name: str) -> str:
    """Return where a file is had; KeyError if there is none of that name."""
    assert name in FILES, f"there is no {name} in {FOLDER}"
    return f"/static/{VERSION}/{name}"


@router.get("/static/{version}/{name}")
def static_file(version: str, name: str) -> Response:
    """Return one file; scripts import each other by name, and so in one version."""
    if name not in FILES:
        raise NotFound(f"there is no {name} among the dashboard's files")
    kept = FOR_EVER if version == VERSION else "no-cache"
    kind = KINDS[Path(name).suffix]
    return Response(FILES[name], media_type=kind, headers={"Cache-Control": kept})
