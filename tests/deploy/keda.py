"""What KEDA 2.12 to 2.20 lets its objects say, written down from its types: no package has their schemas.

Fields that the chart does not use are left out: a new one has to be looked up first.
"""

from typing import Any

import kubernetes_validate

Shape = dict[str, Any]

TRIGGER: Shape = {
    "type": "postgresql",
    "metadata": {"query": str, "targetQueryValue": str},
    "authenticationRef": {"name": str},
}
POLICY: Shape = {"type": str, "value": int, "periodSeconds": int}
SCALED_OBJECT: Shape = {
    "scaleTargetRef": {"name": str},
    "pollingInterval": int,
    "cooldownPeriod": int,
    "minReplicaCount": int,
    "maxReplicaCount": int,
    "advanced": {
        "horizontalPodAutoscalerConfig": {
            "name": str,
            "behavior": {
                "scaleUp": {"policies": [POLICY]},
                "scaleDown": {"stabilizationWindowSeconds": int, "policies": [POLICY]},
            },
        }
    },
    "triggers": [TRIGGER],
}
SCALED_JOB: Shape = {
    "jobTargetRef": dict,
    "pollingInterval": int,
    "minReplicaCount": int,
    "maxReplicaCount": int,
    "successfulJobsHistoryLimit": int,
    "failedJobsHistoryLimit": int,
    "rollout": {"strategy": "gradual"},
    "scalingStrategy": {"strategy": "default"},
    "triggers": [TRIGGER],
}
AUTHENTICATION: Shape = {"secretTargetRef": [{"parameter": "connection", "name": str, "key": str}]}
SPECS = {
    "ScaledObject": SCALED_OBJECT,
    "ScaledJob": SCALED_JOB,
    "TriggerAuthentication": AUTHENTICATION,
}
LONGEST = 63  # a ScaledObject's name, and that of its HPA, are values of labels


def assert_keda_takes(manifest: dict[str, Any], version: str) -> None:
    """Hold an object against the rules, and the Job in a ScaledJob against Kubernetes' schema."""
    assert manifest["apiVersion"] == "keda.sh/v1alpha1"
    assert len(manifest["metadata"]["name"]) <= LONGEST
    _match(manifest["spec"], SPECS[manifest["kind"]], at=manifest["kind"])
    if manifest["kind"] == "ScaledJob":
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one"}}
        kubernetes_validate.validate(job | {"spec": manifest["spec"]["jobTargetRef"]}, version, strict=True)


def _match(found: Any, shape: Any, *, at: str) -> None:
    if isinstance(shape, type):
        assert isinstance(found, shape), at
        assert not (shape is int and isinstance(found, bool)), at
    elif isinstance(shape, dict):
        assert set(found) == set(shape), at
        for key, inner in shape.items():
            _match(found[key], inner, at=f"{at}.{key}")
    elif isinstance(shape, list):
        assert found, at
        for each in found:
            _match(each, shape[0], at=f"{at}[]")
    else:
        assert found == shape, at
