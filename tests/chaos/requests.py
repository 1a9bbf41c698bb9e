"""A client of the API as it should be: every POST under a key, repeated until it is answered."""

import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tests.chaos.invariants import HOOK, HOOKED

SECONDS = 300.0
COMMON = {"batch_size": 2, "rank": 2, "learning_rate": 1e-3, "eval_samples": 1, "eval_steps": 1}
KINDS: dict[str, dict[str, Any]] = {
    "sft": COMMON | {"steps": 120, "checkpoint_every": 12},
    "spin": COMMON | {"n_iterations": 2, "steps": 60, "checkpoint_every": 6, "beta": 100.0, "rival_steps": 1},
}
SEED = 7


def method(kind: str) -> dict[str, Any]:
    """Return the method of a kind of job."""
    return {"type": kind, kind: {"hyperparameters": KINDS[kind]}}


@dataclass
class Requests:
    """What was asked, and what the API answered."""

    url: str
    key: str
    accepted: dict[str, str] = field(default_factory=dict)
    """Token of a request -> job."""
    _numbers: Any = field(default_factory=count)

    def post(self, path: str, token: str, **what: Any) -> dict[str, Any]:
        """Send one request, again and again under the same key, until it is answered."""
        deadline = time.monotonic() + SECONDS
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": token}
        while True:
            try:
                with httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False) as client:
                    answer = client.post(path, **what)
                if answer.status_code == 200:
                    return dict(answer.json())
                again = answer.status_code >= 500 or answer.status_code == 409
                why = f"{answer.status_code} {answer.text}"
            except httpx.TransportError as error:
                again, why = True, repr(error)
            if not again or time.monotonic() > deadline:
                raise AssertionError(f"{path} was not answered well: {why}")
            time.sleep(0.1)

    def dataset(self, archive: bytes) -> str:
        """Upload an archive and return the id of its dataset."""
        number = next(self._numbers)
        file = self.upload(archive)
        made = self.post("/v1/datasets", f"dataset-{number}", json={"name": f"d{number}", "file": file})
        return str(made["id"])

    def upload(self, archive: bytes) -> str:
        """Upload an archive and return the id of its file."""
        what = {"files": {"file": ("pictures.zip", archive)}, "data": {"purpose": "fine-tune"}}
        headers = {"Content-Type": "multipart/form-data; boundary=chaos"}  # a repeated body is the same body
        return str(self.post("/v1/files", f"file-{next(self._numbers)}", headers=headers, **what)["id"])

    def job(self, kind: str, training_file: str) -> str:
        """Submit a job and return its id."""
        token = f"job-{next(self._numbers)}"
        body = {"model": "tiny", "training_file": training_file, "method": method(kind), "seed": SEED}
        made = self.post("/v1/fine_tuning/jobs", token, json=body | {"metadata": {"token": token}})
        self.accepted[token] = str(made["id"])
        return self.accepted[token]

    def listen(self, url: str) -> str:
        """Have an address told of the states of jobs, and return the secret that signs."""
        body = {"name": url.rpartition("/")[2], "url": url, "event_types": [HOOK + state for state in HOOKED]}
        made = self.post("/v1/webhook_endpoints", f"endpoint-{next(self._numbers)}", json=body)
        return str(made["signing_secret"])

    def steer(self, job_id: str, verb: str) -> bool:
        """Pause, resume or cancel a job; False when it has ended already."""
        deadline = time.monotonic() + SECONDS
        headers = {"Authorization": f"Bearer {self.key}"}
        while time.monotonic() < deadline:
            try:
                with httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False) as client:
                    answer = client.post(f"/v1/fine_tuning/jobs/{job_id}/{verb}")
            except httpx.TransportError:
                pass
            else:
                if answer.status_code < 500:
                    return answer.status_code == 200
            time.sleep(0.1)
        raise AssertionError(f"{verb} {job_id} was not answered")
