"""Kubernetes' own schemas, of the oldest version that the chart takes and of the newest that is known."""

from functools import lru_cache
from typing import Any

import kubernetes_validate
from kubernetes_validate import utils

from tests.deploy.keda import assert_keda_takes

VERSIONS = ("1.30", "1.37")
# Kinds of others, whose schemas are in no package; what is made of them is held to rules of their own.
THEIRS = {"monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1"}

# Else each object costs five seconds, in which the same schemas are read again.
utils.schema_contents = lru_cache(maxsize=256)(utils.schema_contents)


def assert_valid(manifest: dict[str, Any], version: str) -> None:
    """Hold an object against the schema of its kind; a field that is not known is a failure."""
    if manifest["apiVersion"].startswith("keda.sh/"):
        assert_keda_takes(manifest, version)
    elif manifest["apiVersion"] not in THEIRS:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version
