"""Content credentials (C2PA): pictures that say, under a signature, that a model drew them, and which."""

import json
import threading
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from PIL import Image

from core import registry
from core.db import Database, transaction
from core.drawing_claims import DrawingClaim
from core.errors import NotFound
from core.lineage.steps import lineage
from core.settings import Settings
from worker.workplace import Unusable

DRAWN_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
LINEAGE = "org.spindle.lineage"
CURVES = {256: "ES256", 384: "ES384", 521: "ES512"}
LINEAGES_KEPT = 256


@dataclass
class Signing:
    """Signs pictures with one key."""

    database: Database
    algorithm: c2pa.C2paSigningAlg
    key: bytes
    certificates: bytes
    timestamp_url: str
    _lineages: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def signed(self, claim: DrawingClaim, picture: Path) -> Path:
        """Return a signed copy of a picture, beside it; ValueError when it cannot be signed."""
        target = picture.with_name(f"signed-{picture.name}")
        _sign(self._signer(), manifest_of(self._lineage(claim)), picture, target)
        return target

    def check(self, folder: Path) -> None:
        """Sign a picture of one pixel, and read it back; Unusable when that does not work."""
        plain, signed = folder / "signing-check.png", folder / "signing-checked.png"
        Image.new("RGB", (1, 1)).save(plain)
        try:
            _sign(self._signer(), manifest_of({"model": "check"}), plain, signed)
            with c2pa.Reader(signed) as reader:
                state = reader.get_validation_state()
        except (c2pa.C2paError, ValueError) as error:
            raise Unusable(f"c2pa_key and c2pa_certificates sign nothing: {error}") from error
        finally:
            plain.unlink(missing_ok=True)
            signed.unlink(missing_ok=True)
        if state == "Invalid":
            raise Unusable(f"what c2pa_key and c2pa_certificates sign is {state}")

    def _signer(self) -> c2pa.Signer:
        return c2pa.Signer.from_info(
            c2pa.C2paSignerInfo(
                self.algorithm, self.certificates, self.key, self.timestamp_url.encode() or None
            )
        )

    def _lineage(self, claim: DrawingClaim) -> dict[str, Any]:
        """Return what a manifest says of the model, which never changes for one id."""
        known = (claim.project_id, claim.model_id)
        with self._guard:
            if known in self._lineages:
                return self._lineages[known]
        found = lineage_of(self.database, project_id=claim.project_id, model_id=claim.model_id)
        with self._guard:
            if len(self._lineages) >= LINEAGES_KEPT:
                self._lineages.clear()
            self._lineages[known] = found
        return found


def signing_for(settings: Settings, database: Database, folder: Path) -> Signing | None:
    """Return what signs pictures; None when the settings name no key.

    Raises:
        Unusable: the files cannot be read, do not belong together, or make no signature.
    """
    if settings.c2pa_key is None or settings.c2pa_certificates is None:
        return None
    try:
        key, certificates = settings.c2pa_key.read_bytes(), settings.c2pa_certificates.read_bytes()
        private = load_pem_private_key(key, password=None)
        leaf = x509.load_pem_x509_certificates(certificates)[0]
    except (OSError, ValueError, TypeError) as error:
        raise Unusable(f"c2pa_key or c2pa_certificates cannot be read: {error}") from error
    if private.public_key() != leaf.public_key():
        raise Unusable("c2pa_key is not the key of the first of c2pa_certificates")
    algorithm = _algorithm(private)
    signing = Signing(database, algorithm, key, certificates, settings.c2pa_timestamp_url)
    signing.check(folder)
    return signing


def earliest_end(certificates: bytes) -> datetime:
    """Return when the first of a chain of certificates ends; signatures are worth nothing from then on."""
    return min(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(certificates))


def lineage_of(database: Database, *, project_id: str, model_id: str) -> dict[str, Any]:
    """Return where a model comes from: its digest, the jobs and the versions of data behind it."""
    told: dict[str, Any] = {"model": model_id}
    try:
        with transaction(database) as session:
            told["digest"] = registry.get_model(session, project_id=project_id, model_id=model_id).digest
            steps = lineage(session, project_id=project_id, model_id=model_id)
    except NotFound:  # deleted since it was asked for
        return told
    told["jobs"] = [step["id"] for step in steps if step["type"] == "job"]
    told["datasets"] = [
        {name: step[name] for name in ("id", "name", "version", "sha256")}
        for step in steps
        if step["type"] == "dataset"
    ]
    told["models"] = [step["id"] for step in steps if step["type"] == "model"]
    return told


def manifest_of(lineage: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a picture that a model drew."""
    software = {"name": "Spindle", "version": version("spindle")}
    created = {"action": "c2pa.created", "digitalSourceType": DRAWN_BY_A_MODEL, "softwareAgent": software}
    return {
        "claim_generator_info": [software],
        "title": "A picture drawn by a model",
        "format": "image/png",
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": LINEAGE, "data": lineage},
        ],
    }


def _sign(signer: c2pa.Signer, manifest: dict[str, Any], picture: Path, target: Path) -> None:
    try:
        with signer, c2pa.Builder.from_json(json.dumps(manifest)) as builder:
            builder.sign_file(picture, target, signer)
    except c2pa.C2paError as error:
        raise ValueError(f"the picture could not be signed: {error}") from error


def _algorithm(private: Any) -> c2pa.C2paSigningAlg:
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.key_size in CURVES:
        return c2pa.C2paSigningAlg[CURVES[private.curve.key_size]]
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return c2pa.C2paSigningAlg.ED25519
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        return c2pa.C2paSigningAlg.PS256
    raise Unusable("c2pa_key must be an EC key (P-256, P-384, P-521), Ed25519, or RSA of 2048 bits or more")
