"""What schemathesis is kept from: losing the key that it calls with, and meeting its own earlier requests."""

import os
from typing import Any
from uuid import uuid4

import schemathesis

OWN = "SPINDLE_TEST_KEY_ID"
LONGEST = 200
TO_DRAW = 60.0  # seconds


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Revoke and rotate any key but the own one, after which there would be nothing to learn.

    And choose another good Idempotency-Key for each request: it takes the same for all, which only the first
    may have. And give the worker time to draw: 503 is what is told of a picture that was to be there at once.
    """
    asked = case.body.get("timeout_seconds") if isinstance(case.body, dict) else None
    if isinstance(asked, int | float) and 0 < asked < TO_DRAW:
        case.body["timeout_seconds"] = TO_DRAW
    headers = case.headers or {}
    for name in list(headers):
        if name.lower() == "idempotency-key" and 0 < len(str(headers[name])) <= LONGEST:
            headers[name] = uuid4().hex
    if (case.path_parameters or {}).get("key_id") == os.environ[OWN]:
        case.path_parameters["key_id"] = "key-of-nobody"
