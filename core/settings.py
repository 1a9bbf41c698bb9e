"""Every setting of the platform, from ``SPINDLE_...`` in the environment; unsafe values are refused."""

import os
import secrets
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[1]
STARTER = ROOT / "examples" / "emoji" / "model"
OF_THE_CLIENT = frozenset({"SPINDLE_URL", "SPINDLE_API_KEY"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "", None})
WELL_KNOWN = frozenset(
    {
        "postgres",
        "password",
        "changeme",
        "change-me",
        "minioadmin",
        "admin",
        "root",
        "secret",
        "spindle",
        "test",
    }
)
LEAST_SECRET = 32
DISTINCT = 8  # different characters that a secret has at least: 32 random hex digits have 14
GIB = 1 << 30


class Settings(BaseSettings):
    """What one platform runs with. Three URLs make the profile; the rest are limits."""

    model_config = SettingsConfigDict(
        env_prefix="SPINDLE_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    state: Path = Field(Path(".spindle"), description="Folder of this host: database, objects, queue, work.")
    database_url: str = Field(
        "", repr=False, description="sqlite:///FILE or postgresql://...; default: STATE/spindle.db."
    )
    store_url: str = Field(
        "",
        repr=False,
        description="file://FOLDER or s3://KEY:SECRET@HOST:PORT/BUCKET?secure=0; default: STATE/objects.",
    )
    broker_url: str = Field(
        "", repr=False, description="filesystem://FOLDER or redis://...; default: STATE/queue."
    )
    public_url: str = Field(
        "http://127.0.0.1:8000", description="Where clients reach the API; links begin with it."
    )
    base_models: Path | None = Field(
        None, description="Folder whose subfolders are base models, named by them."
    )
    secret: str | None = Field(
        None,
        min_length=32,
        repr=False,
        description="Signs links to the folder store; default: drawn once into STATE/secret.",
    )
    previous_secrets: str | None = Field(
        None,
        repr=False,
        description="Secrets of before, with spaces between: links that they signed stay good to their end.",
    )
    first_key: str | None = Field(
        None, min_length=32, repr=False, description="The first API key; default: drawn once into STATE/key."
    )

    lease_seconds: float = Field(
        30.0, ge=2, le=3600, description="A worker that is silent this long has lost its unit."
    )
    max_attempts: int = Field(
        3, ge=1, le=100, description="Failures in a row, without progress, until a unit is given up."
    )
    retry_seconds: float = Field(
        2.0, ge=0, le=3600, description="Wait after a first failure; each next is four times longer."
    )
    keep_checkpoints: int = Field(
        0, ge=0, description="Newest checkpoints of a job that stay, beside its best; 0: all."
    )
    shard_rows: int = Field(
        64, ge=1, description="Dataset rows in one generate unit, while there are few enough units."
    )
    encode_shard_rows: int = Field(
        512,
        ge=512,
        multiple_of=512,
        description="Dataset rows in one encode unit, while there are few enough units.",
    )
    max_shards: int = Field(
        8, ge=1, le=1000, description="Encode units, and generate units in one iteration, at most."
    )
    gpu_from_parameters: int = Field(
        100_000_000,
        ge=0,
        description="Jobs whose base model's denoiser has as many parameters go to workers with a GPU.",
    )
    preemption: bool = Field(
        default=True,
        description="Trainings stop at a checkpoint for jobs of higher priority that find no worker.",
    )
    doorbell_seconds: float = Field(5.0, ge=0, description="A message unsent this long is sent by the relay.")
    drawing_timeout_seconds: float = Field(
        300.0, gt=0, le=86400, description="How long a request for pictures waits, unless it says less."
    )
    max_waiting_pictures: int = Field(
        1000, ge=1, le=100_000, description="Pictures that may wait to be drawn; more are refused with 429."
    )

    unit_stall_seconds: float = Field(
        1800.0, gt=0, description="A unit that tells nothing for this long is stopped."
    )
    shutdown_grace_seconds: float = Field(
        60.0, ge=0, description="What a stopping unit may take for its checkpoint."
    )
    gang_seconds: float = Field(
        120.0,
        gt=0,
        le=86400,
        description="How long a worker waits for those it trains with, and their processes for each other.",
    )
    warm_idle_seconds: float = Field(
        600.0,
        ge=0,
        description="A process that has imported what units import is kept so long without one; 0: none is.",
    )
    serve_idle_seconds: float = Field(
        300.0, gt=0, description="Nobody draws for this long: models leave the memory."
    )
    serve_memory_bytes: int = Field(
        0,
        ge=0,
        description="Models kept in memory to draw with; 0: 60% of the GPU, or a quarter of the host's.",
    )
    serve_batch_pictures: int = Field(
        16, ge=1, le=256, description="Pictures drawn at once, where requests fit together."
    )
    c2pa_key: Path | None = Field(
        None, description="PEM file of the private key that signs pictures (C2PA); none are signed without."
    )
    c2pa_certificates: Path | None = Field(
        None, description="PEM file of its certificate and those that vouch for it, its own first."
    )
    c2pa_timestamp_url: str = Field(
        "", description="http://HOST of a time-stamping authority (RFC 3161) for signatures; none by default."
    )
    worker_cache_bytes: int = Field(
        50 * GIB, ge=0, description="Staged inputs that a worker keeps on its disk."
    )
    ingest_memory_bytes: int = Field(
        2 * GIB, ge=1 << 28, description="Memory of a process that reads an archive."
    )
    ingest_cpu_seconds: int = Field(
        3600, ge=1, description="Processor time of a process that reads an archive."
    )

    import_memory_bytes: int = Field(
        64 * GIB,
        ge=1 << 30,
        description="Address space in which an imported model is loaded; less for a small one.",
    )
    import_cpu_seconds: int = Field(
        3600, ge=1, description="Processor time in which an imported model is loaded."
    )
    export_days: float = Field(
        7.0, gt=0, le=3650, description="Exports that nobody asks for so long are deleted, and made anew."
    )

    max_file_bytes: int = Field(20 * GIB, ge=1, description="The largest file that can be uploaded.")
    max_unpacked_bytes: int = Field(100 * GIB, ge=1, description="What an archive may unpack to.")
    max_unpack_ratio: float = Field(
        200.0, ge=1, description="Bytes an archive's entry may unpack to for each packed one."
    )
    max_entries: int = Field(2_000_000, ge=1, description="Entries of an archive.")
    max_picture_bytes: int = Field(64 << 20, ge=1, description="One picture's file.")
    max_picture_pixels: int = Field(50_000_000, ge=1, description="Width times height of one picture.")
    max_caption_characters: int = Field(2000, ge=1, description="One caption.")
    requests_per_minute: int = Field(
        6000,
        ge=0,
        le=1_000_000,
        description="Requests of one key: so many at once, refilled over a minute; 0: any number.",
    )
    audit_days: int = Field(365, ge=1, le=36500, description="How long the audit log is kept.")
    cors_origins: str = Field(
        "",
        description="Web pages that may call the API from a browser: https://HOST, with commas between; "
        "none by default.",
    )
    webhook_networks: str = Field(
        "",
        description="Networks that webhooks may reach although they are not public, and without TLS, with "
        "commas between: 127.0.0.0/8,10.1.0.0/16.",
    )
    webhook_timeout_seconds: float = Field(
        15.0, ge=1, le=30, description="What an endpoint of webhooks may take for its answer."
    )
    otlp_endpoint: str = Field(
        "", description="http://HOST:4318 of an OpenTelemetry collector; traces are off without one."
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port where a worker, of whatever role, answers GET /metrics and GET /livez; 0: none. "
        "The API has both at its own port.",
    )
    log_format: str = Field("json", pattern="^(json|console)$", description="How log lines look.")

    @classmethod
    def load(cls) -> Self:
        """Read the environment; ValueError names what is wrong."""
        known = {f"SPINDLE_{name.upper()}" for name in cls.model_fields} | OF_THE_CLIENT
        unknown = sorted(name for name in os.environ if name.startswith("SPINDLE_") and name not in known)
        if unknown:
            raise ValueError(
                f"unknown settings in the environment: {', '.join(unknown)}; check their spelling"
            )
        return cls()

    @model_validator(mode="before")
    @classmethod
    def _embedded_profile(cls, data: dict[str, object]) -> dict[str, object]:
        """Fill the three URLs with places in the state folder."""
        state = Path(str(data.get("state") or ".spindle")).expanduser().absolute()
        defaults = {
            "database_url": f"sqlite:///{state}/spindle.db",
            "store_url": f"file://{state}/objects",
            "broker_url": f"filesystem://{state}/queue",
        }
        return data | {"state": state} | {name: data.get(name) or url for name, url in defaults.items()}

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        scheme, _, rest = url.partition("://")
        if scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
            _refuse_well_known("database_url", url)
            return f"postgresql+psycopg://{rest}"
        if scheme != "sqlite" or not rest.startswith("/") or rest in {"/", "/:memory:"} or "?" in rest:
            raise ValueError(
                "give sqlite:///FILE (one file that all processes share) or postgresql://USER:PASSWORD@HOST/NAME"
            )
        return url

    @field_validator("store_url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        if url.startswith("file:///"):
            return url
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.username or not parts.password or not parts.path.strip("/"):
            raise ValueError("give file:///FOLDER or s3://KEY:SECRET@HOST:PORT/BUCKET")
        _refuse_well_known("store_url", url)
        return url

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"filesystem", "redis", "rediss"}:
            raise ValueError("give filesystem:///FOLDER or redis://:PASSWORD@HOST:PORT/0")
        if parts.scheme == "filesystem" and not parts.path.startswith("/"):
            raise ValueError("filesystem:// takes an absolute folder: filesystem:///FOLDER")
        if parts.scheme != "filesystem":
            _refuse_well_known("broker_url", url)
            if "visibility_timeout" in parts.query or "acks_late" in parts.query:
                raise ValueError(
                    "broker options are not the user's: units are acknowledged when they are claimed"
                )
        return url

    @field_validator("public_url", "otlp_endpoint", "c2pa_timestamp_url")
    @classmethod
    def _web_address(cls, url: str, info: ValidationInfo) -> str:
        if info.field_name != "public_url" and not url:
            return url
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            raise ValueError("give http://HOST:PORT or https://HOST")
        return url.rstrip("/")

    @field_validator("first_key", "secret")
    @classmethod
    def _hard_to_guess(cls, secret: str | None, info: ValidationInfo) -> str | None:
        """Refuse what is long enough but no secret: few different characters, or one piece repeated."""
        if secret is not None and (len(set(secret)) < DISTINCT or secret in (secret + secret)[1:-1]):
            raise ValueError(f"{info.field_name} is easy to guess: draw one with `openssl rand -hex 24`")
        if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
            raise ValueError(f"{info.field_name} must be of printable ASCII characters without spaces")
        return secret

    @field_validator("previous_secrets")
    @classmethod
    def _none_of_them_guessed(cls, told: str | None, info: ValidationInfo) -> str | None:
        for secret in (told or "").split():
            if len(secret) < LEAST_SECRET:
                raise ValueError(f"{info.field_name}: each has {LEAST_SECRET} characters or more")
            cls._hard_to_guess(secret, info)
        return told

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, told: str) -> str:
        for origin in filter(None, told.split(",")):
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError(
                    f"{origin!r} is no origin: name each as https://HOST[:PORT], without a path or *"
                )
        return told

    @field_validator("webhook_networks")
    @classmethod
    def _known_networks(cls, networks: str) -> str:
        for network in filter(None, networks.split(",")):
            try:
                ip_network(network.strip())
            except ValueError as error:
                raise ValueError(f"give networks such as 10.1.0.0/16 with commas between: {error}") from error
        return networks

    @model_validator(mode="after")
    def _folders_are_there(self) -> Self:
        if self.base_models is not None and not self.base_models.is_dir():
            raise ValueError(f"base_models: {self.base_models} is not a folder")
        return self

    @model_validator(mode="after")
    def _key_with_its_certificates(self) -> Self:
        if (self.c2pa_key is None) != (self.c2pa_certificates is None):
            raise ValueError("c2pa_key and c2pa_certificates: give both, or neither")
        return self

    def base_model_folders(self) -> dict[str, Path]:
        """Return the base models by name: the starter, and each subfolder that is a diffusers pipeline."""
        folders = {"starter": STARTER}
        if self.base_models is not None:
            folders |= {path.name: path.absolute() for path in sorted(self.base_models.iterdir())}
        return {name: path for name, path in folders.items() if (path / "model_index.json").is_file()}

    def networks_of_webhooks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the networks that webhooks may reach although they are not public."""
        return tuple(ip_network(each.strip()) for each in self.webhook_networks.split(",") if each)

    def signing_secret(self) -> bytes:
        """Return the key that signs links; the first process to ask draws it."""
        return (self.secret or once_written(self.state / "secret", secrets.token_urlsafe(48))).encode()

    def former_secrets(self) -> tuple[bytes, ...]:
        """Return the keys that signed links before; what they signed is still good."""
        return tuple(each.encode() for each in (self.previous_secrets or "").split())


def once_written(path: Path, text: str) -> str:
    """Return the text of a secret file (0600), which the first of several processes writes, whole."""
    if not path.exists():
        partial = _partial_secret(path, text)
        with suppress(FileExistsError):  # another process was first
            path.hardlink_to(partial)
        partial.unlink()
    return path.read_text().strip()


def replace_secret(path: Path, text: str) -> None:
    """Write a secret file (0600) in the place of the one that is there."""
    _partial_secret(path, text).replace(path)


def _partial_secret(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return partial


def _refuse_well_known(name: str, url: str) -> None:
    """Refuse a password that everyone knows, once other machines can be reached or can reach us."""
    parts = urlsplit(url)
    if parts.hostname not in LOOPBACK and (parts.password or "").lower() in WELL_KNOWN:
        raise ValueError(f"{name}: the password for {parts.hostname} is a well-known default; choose another")


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process."""
    return Settings.load()
