"""Real pictures for the browser's tests: a small cut of the starter's own, and dropping them on a page."""

import base64
import io
import json
import zipfile
from pathlib import Path

from playwright.sync_api import Page

DATA = Path(__file__).resolve().parents[2] / "examples" / "emoji" / "data"
DROP = """([files, name]) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { lastModified: 1 }));
  }
  const zone = document.querySelector(name);
  for (const kind of ["dragenter", "dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""


def cut(rows: int, *, bad: int = 0) -> list[tuple[str, bytes]]:
    """Return the first pictures of the starter with ``metadata.jsonl``; ``bad`` more are no pictures."""
    with zipfile.ZipFile(DATA / "test.zip") as archive:
        lines = [json.loads(line) for line in archive.read("metadata.jsonl").decode().splitlines()[:rows]]
        files = [(line["file_name"], archive.read(line["file_name"])) for line in lines]
    broken = [(f"broken-{number}.png", b"no picture") for number in range(bad)]
    lines += [{"file_name": name, "text": f"broken {name}"} for name, _ in broken]
    table = "\n".join(json.dumps(line) for line in lines).encode()
    return [*files, *broken, ("metadata.jsonl", table)]


def zipped(files: list[tuple[str, bytes]]) -> bytes:
    """Return them as a zip."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return sink.getvalue()


def drop(tab: Page, files: list[tuple[str, bytes]], *, on: str = "#drop") -> None:
    """Drop files on a part of the page, as a hand would."""
    tab.evaluate(DROP, [[[name, base64.b64encode(data).decode()] for name, data in files], on])
