"""The live app against its own OpenAPI document, by schemathesis: every check, on both profiles.

The limits of every field of every body are tried on the one whose database knows more of them, and the cases
are the same each time, however fast the machine is; ``make fuzz`` does all on both: FUZZ_EXAMPLES a case, and
other ones each time.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import settings_in
from tests.api.platform import ROOT, server_in
from tests.api.schemathesis_hooks import OWN
from tests.api.test_images import serving
from tests.api.test_openai_client import working

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
LONG = "FUZZ_EXAMPLES" in os.environ
SHORT = ("--max-examples", "1", "--seed", "1", "--generation-database", "none")
SAME_ORDER = {} if LONG else {"PYTHONHASHSEED": "0"}


def options(urls: dict[str, str]) -> tuple[str, ...]:
    """Return how much is asked: without the URLs of a cluster, no limit of each field by itself."""
    if LONG:
        return ("--max-examples", os.environ["FUZZ_EXAMPLES"])
    return SHORT if urls else (*SHORT, "--phases", "examples,fuzzing,stateful")


@pytest.mark.timeout(0 if LONG else 1200)
def test_the_app_does_what_its_document_says(home: Path, urls: dict[str, str]) -> None:
    settings = settings_in(home, requests_per_minute=0, **urls)
    with server_in(settings) as server, working(server), serving(server):
        [key] = server.client.get("/v1/keys").json()["data"]
        server.job()
        # Made once, and kept: schemathesis waits ten seconds for it, and a busy machine takes as long.
        assert server.client.get("/openapi.json", timeout=120).status_code == 200
        told = {"SPINDLE_API_KEY": server.secret, OWN: key["id"], "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            [
                SCHEMATHESIS,
                "--no-color",
                "--config-file",
                ROOT / "tests/api/schemathesis.toml",
                "run",
                f"{server.url}/openapi.json",
                *options(urls),
            ],
            cwd=ROOT,
            env=os.environ | SAME_ORDER | told,
            capture_output=True,
            text=True,
            check=False,
        )
        alive = server.client.get("/v1/models").status_code
    sys.stdout.write(ran.stdout)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2000:]
    assert alive == 200
