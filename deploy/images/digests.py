"""Ask registries for the digests of the images that others publish, and record them; none is ever made up.

``python -m deploy.images.digests deploy/images/digests.txt`` writes a line ``REFERENCE@sha256:...`` for each
image that a registry answered for, and ends with 1 when there was one without an answer. It asks with skopeo,
or with docker's buildx where there is no skopeo.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.images.listing import needed

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TIMEOUT_SECONDS = 60
HEADER = "# Answered by the registries themselves; written by python -m deploy.images.digests.\n"


class Unanswered(Exception):  # noqa: N818  an answer that is not there, told as it is
    """No registry told the digest."""


def main(arguments: list[str] | None = None) -> int:
    """Resolve and record; what has no answer is listed and leaves no line."""
    parser = argparse.ArgumentParser("python -m deploy.images.digests", description=__doc__)
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("references", nargs="*", help="images to ask for (default: all that others publish)")
    parser.add_argument("--plain-http", action="store_true", help="for a registry of your own without TLS")
    given = parser.parse_intermixed_args(arguments)  # images may follow an option
    references = given.references or [each.reference for each in needed() if not each.ours]
    resolved, unanswered = resolve_all(references, plain_http=given.plain_http)
    for sentence in unanswered:
        print(f"no digest: {sentence}", file=sys.stderr)
    if resolved:
        given.out.write_text(HEADER + "".join(f"{name}@{digest}\n" for name, digest in resolved.items()))
        print(f"{len(resolved)} of {len(references)} recorded in {given.out}")
    else:
        print(f"nothing is recorded: {given.out} is as it was", file=sys.stderr)
    return bool(unanswered)


def resolve_all(references: Iterable[str], *, plain_http: bool) -> tuple[dict[str, str], list[str]]:
    """Return the digests that registries told, and a sentence for each image without one."""
    resolved: dict[str, str] = {}
    unanswered = []
    for reference in references:
        try:
            resolved[reference] = resolve(reference, plain_http=plain_http)
        except Unanswered as error:
            unanswered.append(f"{reference}: {error}")
    return resolved, unanswered


def resolve(reference: str, *, plain_http: bool) -> str:
    """Return the digest of a reference's manifest (of its list of platforms, where it has one)."""
    if shutil.which("skopeo"):
        command = ["skopeo", "inspect", "--format", "{{.Digest}}", f"--tls-verify={not plain_http}".lower()]
        command.append(f"docker://{full_name(reference)}")
    elif shutil.which("docker"):
        command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", reference]
    else:
        raise Unanswered("neither skopeo nor docker is installed to ask with")
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unanswered(f"no answer within {TIMEOUT_SECONDS} s") from None
    if ran.returncode:
        raise Unanswered((ran.stderr.strip() or "no answer").splitlines()[-1])
    if DIGEST.fullmatch(ran.stdout.strip()) is None:
        raise Unanswered(f"{command[0]} answered {ran.stdout.strip()!r}, which is no digest")
    return ran.stdout.strip()


def full_name(reference: str) -> str:
    """Write out the registry and the folder that Docker's short names leave out."""
    first, slash, _ = reference.partition("/")
    if not slash:
        return f"docker.io/library/{reference}"
    return reference if re.search(r"[.:]|^localhost$", first) else f"docker.io/{reference}"


def read_digests(path: Path) -> dict[str, str]:
    """Read a file that this program wrote; ValueError for a line that holds no digest."""
    digests = {}
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        reference, _, digest = line.partition("@")
        if DIGEST.fullmatch(digest) is None:
            raise ValueError(f"{path}: {line!r} holds no digest")
        digests[reference] = digest
    return digests


if __name__ == "__main__":
    sys.exit(main())
