"""The libraries that compute. Torch-free."""

import importlib.metadata

PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate")


def versions() -> dict[str, str]:
    """Return their versions here."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}
