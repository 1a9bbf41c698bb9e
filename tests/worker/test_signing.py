"""Content credentials, read back by c2pa's own reader; the certificates are made here."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core import registry
from core.db import Database, transaction
from core.drawing_claims import DrawingClaim
from core.keys import DEFAULT_PROJECT
from core.migrate import migrate
from core.settings import Settings
from core.sources import Source
from worker.__main__ import main
from worker.signing import DRAWN_BY_A_MODEL, LINEAGE, Unusable, lineage_of, manifest_of, signing_for

PEM = serialization.Encoding.PEM


def name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Studio"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def certificate(subject: str, key: Any, issuer: str, signer: Any, *, is_ca: bool) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
            "decipher_only",
        ),
        False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not is_ca:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, algorithm)


def write_key(path: Path, key: Any) -> Path:
    plain = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
    return path


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return credentials_in(tmp_path_factory.mktemp("credentials"))


def credentials_in(folder: Path) -> dict[str, Path]:
    """Write a key with its certificate, and that of who vouches for it, as the settings name them."""
    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = [
        certificate("Studio", own, "Studio Root", root, is_ca=False),
        certificate("Studio Root", root, "Studio Root", root, is_ca=True),
    ]
    (folder / "chain.pem").write_bytes(b"".join(each.public_bytes(PEM) for each in chain))
    return {"c2pa_key": write_key(folder / "key.pem", own), "c2pa_certificates": folder / "chain.pem"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    settings = Settings(state=tmp_path_factory.mktemp("signing"))
    migrate(settings)
    opened = Database(settings)
    yield opened
    opened.dispose()


def claim(model: str) -> DrawingClaim:
    return DrawingClaim(
        drawing_id="img-1",
        project_id=DEFAULT_PROJECT,
        model_id=model,
        fence=1,
        worker="serve-1",
        lease_seconds=30,
        prompt="a fox",
        negative_prompt=None,
        seeds=(7,),
        width=None,
        height=None,
        steps=20,
        guidance_scale=7.5,
        base=Source(folder="/models/starter"),
        weights=None,
    )


def picture(folder: Path) -> Path:
    told = PngInfo()
    told.add_itxt("prompt", "红色的狐狸")
    Image.new("RGB", (64, 64), (200, 90, 20)).save(folder / "0.png", pnginfo=told)
    return folder / "0.png"


def test_a_signed_picture_says_which_model_drew_it(
    credentials: dict[str, Path], database: Database, tmp_path: Path
) -> None:
    signing = signing_for(Settings(**credentials), database, tmp_path)
    assert signing is not None
    plain = picture(tmp_path)
    signed = signing.signed(claim("starter"), plain)
    with c2pa.Reader(signed) as reader:
        assert reader.get_validation_state() == "Valid"
        manifest = reader.get_active_manifest()
    found = {each["label"]: each["data"] for each in manifest["assertions"]}
    [action] = found["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", DRAWN_BY_A_MODEL)
    with transaction(database) as session:
        digest = registry.get_model(session, project_id=DEFAULT_PROJECT, model_id="starter").digest
    assert found[LINEAGE] == {
        "model": "starter",
        "digest": digest,
        "jobs": [],
        "datasets": [],
        "models": ["starter"],
    }
    assert manifest["claim_generator_info"][0]["name"] == "Spindle"
    with Image.open(signed) as there, Image.open(plain) as before:
        assert there.tobytes() == before.tobytes()
        assert there.text["prompt"] == "红色的狐狸"  # type: ignore[attr-defined]  # of PNG files


def test_a_picture_that_was_changed_is_found_out(
    credentials: dict[str, Path], database: Database, tmp_path: Path
) -> None:
    signing = signing_for(Settings(**credentials), database, tmp_path)
    assert signing is not None
    signed = signing.signed(claim("starter"), picture(tmp_path))
    data = bytearray(signed.read_bytes())
    data[data.rindex(b"IDAT") + 10] ^= 1
    signed.write_bytes(data)
    with c2pa.Reader(signed) as reader:
        assert reader.get_validation_state() == "Invalid"


def test_a_model_that_is_gone_is_still_named(database: Database) -> None:
    assert lineage_of(database, project_id=DEFAULT_PROJECT, model_id="ft:x") == {"model": "ft:x"}
    assert json.dumps(manifest_of({"model": "ft:x"}))


def test_no_key_signs_nothing(database: Database, tmp_path: Path) -> None:
    assert signing_for(Settings(), database, tmp_path) is None


@pytest.mark.parametrize("which", ["c2pa_key", "c2pa_certificates"])
def test_a_key_comes_with_its_certificates(credentials: dict[str, Path], which: str) -> None:
    with pytest.raises(ValueError, match="give both, or neither"):
        Settings.model_validate({which: credentials[which]})


def test_what_cannot_sign_is_refused_at_the_start(
    credentials: dict[str, Path], database: Database, tmp_path: Path
) -> None:
    other = write_key(tmp_path / "other.pem", ec.generate_private_key(ec.SECP256R1()))
    brainpool = write_key(tmp_path / "brainpool.pem", ec.generate_private_key(ec.SECP256K1()))
    own = ed25519.Ed25519PrivateKey.generate()
    bare = certificate("Studio", own, "Studio", own, is_ca=True)
    (tmp_path / "bare.pem").write_bytes(bare.public_bytes(PEM))
    (tmp_path / "nonsense.pem").write_text("nonsense")
    write_key(tmp_path / "ed25519.pem", own)
    wrong: list[tuple[dict[str, Path], str]] = [
        ({"c2pa_key": tmp_path / "none.pem"}, "cannot be read"),
        ({"c2pa_key": tmp_path / "nonsense.pem"}, "cannot be read"),
        ({"c2pa_certificates": tmp_path / "nonsense.pem"}, "cannot be read"),
        ({"c2pa_key": other}, "is not the key of the first"),
        ({"c2pa_key": brainpool}, "is not the key of the first"),
        # A certificate that may not sign content: it is for signing certificates.
        ({"c2pa_key": tmp_path / "ed25519.pem", "c2pa_certificates": tmp_path / "bare.pem"}, "sign"),
    ]
    for changed, message in wrong:
        with pytest.raises(Unusable, match=message):
            signing_for(Settings.model_validate(credentials | changed), database, tmp_path)
    assert not list(tmp_path.glob("signing-check*"))


def test_a_worker_does_not_start_with_a_key_that_signs_nothing(
    tmp_path: Path,
    credentials: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "worker.__main__.get_settings",
        lambda: Settings(
            state=tmp_path, c2pa_key=tmp_path / "none.pem", c2pa_certificates=credentials["c2pa_certificates"]
        ),
    )
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 78
    assert "c2pa_key or c2pa_certificates cannot be read" in capsys.readouterr().err
