"""``python -m tests.deploy.policy CHECKOV``: every scenario of the chart against checkov's policies.

checkov's pins and ours exclude each other: it has an environment of its own, made by ``make check``.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.image import ROOT
from tests.deploy.release import COMPONENT, NAMESPACE, SCENARIOS, Manifest, render, scenario

CONFIG = ROOT / "deploy" / "policy" / "checkov.yaml"
EXCEPTIONS = ROOT / "deploy" / "policy" / "exceptions.yaml"
LIMIT_SECONDS = 600


def known(manifest: Manifest, exceptions: dict[str, dict[str, str]]) -> Manifest:
    """Return an object as checkov knows it: in its namespace, with its exceptions, a ScaledJob as a Job."""
    metadata = manifest["metadata"]
    reasons = exceptions.get(metadata["labels"].get(COMPONENT, ""), {})
    skips = {
        f"checkov.io/skip{number}": f"{check}={why}" for number, (check, why) in enumerate(reasons.items(), 1)
    }
    annotations = metadata.get("annotations", {}) | skips
    placed = manifest | {"metadata": metadata | {"namespace": NAMESPACE, "annotations": annotations}}
    if manifest["kind"] == "ScaledJob":
        placed |= {"apiVersion": "batch/v1", "kind": "Job", "spec": manifest["spec"]["jobTargetRef"]}
    return placed


def main(checkov: str) -> int:
    """Check all scenarios, tell what is against the policies, and return the exit code."""
    exceptions = yaml.safe_load(EXCEPTIONS.read_text())
    with tempfile.TemporaryDirectory(prefix="spindle-policy-") as folder:
        written = 0
        for name in SCENARIOS:
            objects = [known(each, exceptions) for each in render(scenario(name)).objects]
            (Path(folder) / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
            written += len(objects)
        command = [checkov, "--config-file", str(CONFIG), "--directory", folder, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        print(f"checkov said nothing that can be read:\n{done.stdout}{done.stderr}", file=sys.stderr)
        return 1
    return tell(report, written=written)


def tell(report: dict[str, Any], *, written: int) -> int:
    """Print what failed; a report about too few objects is a failure too, for then nothing was checked."""
    for each in report.get("results", {}).get("failed_checks", []):
        file = Path(each["file_path"]).stem
        print(f"{file}: {each['resource']}: {each['check_id']} {each['check_name']}")
    summary = report.get("summary", report)
    print(f"policy: {summary['passed']} checks passed, {summary['failed']} failed, of {written} objects")
    seen = summary["resource_count"]
    if summary["parsing_errors"] or seen < len(SCENARIOS):
        print(f"checkov has read {seen} objects of {written}: look at what was rendered")
        return 1
    return 1 if summary["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
