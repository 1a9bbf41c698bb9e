"""Every command with what the API answers it, what it asks, and what it shows to people."""

from typing import Any

from tests.spindle.test_client import FILE, JOB

WITHOUT_JSON = {"up", "demo", "key"}
DATASET = {"id": "ds-1", "name": "cats", "status": "ready", "created_at": 1, "rows": 2}
KEY = {"id": "key-1", "name": "ci", "scopes": ["read"], "key": "spk-new", "prefix": "spk-ne", "created_at": 1}
HOOK = {"id": "wh-1", "name": "ci", "url": "https://example.com/", "event_types": ["dataset.ready"]}
DELIVERY = {
    "id": "whd-01m880v66saaj6w1e7by2v5ed5",
    "event_id": "whe-1",
    "event_type": "dataset.ready",
    "status": "failed",
    "created_at": 1,
    "attempts": [{"created_at": 1, "milliseconds": 7, "status": 500, "error": None, "response": "no"}],
}
ENTRY = {"id": "aud-1", "created_at": 1, "key_id": "key-1", "method": "POST", "route": "/v1/files"}
UNIT = {
    "id": "unit-1",
    "kind": "generate",
    "job": "ftjob-1",
    "dataset": None,
    "transfer": None,
    "name": "cats",
    "iteration": 2,
    "shard": 0,
    "shards": 3,
    "attempt": 1,
    "worker": "units-0@host",
    "gang": [],
    "started_at": 1,
    "progress": {"step": 4, "of": 8},
}
WORKER = {"id": "units-0@host", "role": "units", "status": "busy", "unit": UNIT}
WAITING = {
    "id": "ftjob-2",
    "name": "dogs",
    "status": "queued",
    "queue": "default",
    "priority": 0,
    "position": 1,
    "estimated_start": None,
    "waits_for": "a worker with a GPU",
}
QUEUE = {
    "running": [UNIT],
    "queued": [WAITING],
    "queued_count": 3,
    "other_projects": {"running": 1, "queued": 0},
}
MODEL = {"id": "ft:starter:x:1", "kind": "result", "created": 1}
SPLIT = {"version": 1, "share": 0.1}
ALIAS = {"id": "cat@production", "name": "cat", "alias": "production", "version": 2, "split": SPLIT}
NAME = {"id": "cat", "name": "cat", "versions": 2, "created": 1} | {
    "aliases": [{"alias": "production", "version": 2, "split": SPLIT}]
}
VERSION = {"id": "cat@2", "name": "cat", "version": 2, "model": "m", "aliases": ["production"], "created": 1}
EXPORT = {"id": "exp-1", "model": "m", "format": "lora", "status": "ready", "filename": "m.safetensors"}
IMPORT = {"id": "imp-1", "file": "file-1", "status": "ready", "model": "imported-cat-1"}
POINT = {"iteration": 1, "step": 2, "name": "loss", "value": 0.5}
GONE = {"id": "x", "deleted": True}


def listed(*items: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "has_more": False}


# The words, the API's answer, what the request was, and a word of what people read.
COMMANDS = [
    ("files show file-1", FILE, "GET /v1/files/file-1", "a.zip"),
    ("files delete file-1", GONE, "DELETE /v1/files/file-1", "x deleted"),
    (
        "files show-upload upload-1",
        {"id": "upload-1", "status": "pending", "bytes": 2000, "received_bytes": 1000},
        "GET /v1/uploads/upload-1",
        "1.0 kB of 2.0 kB",
    ),
    (
        "files cancel-upload upload-1",
        {"id": "upload-1", "status": "cancelled", "bytes": 2},
        "POST /v1/uploads/upload-1/cancel",
        "cancelled",
    ),
    ("datasets show ds-1", DATASET, "GET /v1/datasets/ds-1", "cats v1"),
    (
        "datasets rejected ds-1",
        listed({"file": "a.png", "row": 3, "reason": "no caption"}),
        "GET /v1/datasets/ds-1/rejected?limit=100",
        "no caption",
    ),
    (
        "datasets overlap ds-1 ds-2",
        {"dataset": "ds-1", "other": "ds-2", "rows": 9, "identical": 4, "alike": 1},
        "GET /v1/datasets/ds-1/overlap?other=ds-2",
        "identical",
    ),
    ("datasets list --name cats", listed(DATASET), "GET /v1/datasets?name=cats&limit=20", "cats v1"),
    ("datasets delete ds-1", GONE, "DELETE /v1/datasets/ds-1", "x deleted"),
    ("jobs show ftjob-1", JOB, "GET /v1/fine_tuning/jobs/ftjob-1", "spin"),
    ("jobs cancel ftjob-1", JOB, "POST /v1/fine_tuning/jobs/ftjob-1/cancel", "running"),
    ("jobs pause ftjob-1", JOB, "POST /v1/fine_tuning/jobs/ftjob-1/pause", "running"),
    ("jobs resume ftjob-1", JOB, "POST /v1/fine_tuning/jobs/ftjob-1/resume", "running"),
    (
        "jobs events ftjob-1",
        listed({"id": "evt-1", "created_at": 1, "message": "started"}),
        "GET /v1/fine_tuning/jobs/ftjob-1/events?limit=50",
        "started",
    ),
    (
        "jobs metrics ftjob-1 --name loss",
        listed(POINT),
        "GET /v1/fine_tuning/jobs/ftjob-1/metrics?names=loss&limit=5000",
        "0.5",
    ),
    (
        "jobs samples ftjob-1",
        listed({"iteration": -1, "index": 0, "prompt": "a fox", "url": "http://x/"}),
        "GET /v1/fine_tuning/jobs/ftjob-1/samples",
        "a fox",
    ),
    (
        "jobs checkpoints ftjob-1",
        listed({"id": "ftckpt-1", "created_at": 1, "step_number": 9}),
        "GET /v1/fine_tuning/jobs/ftjob-1/checkpoints?limit=50",
        "ftckpt-1",
    ),
    ("models list", listed(MODEL), "GET /v1/models?limit=50", "result"),
    ("models delete ft:starter:x:1", GONE, "DELETE /v1/models/ft:starter:x:1", "x deleted"),
    (
        "models lineage m",
        {"id": "m", "data": [{"type": "job", "id": "ftjob-1", "seed": 7}]},
        "GET /v1/models/m/lineage",
        "seed=7",
    ),
    ("models names", listed(NAME), "GET /v1/registry?limit=50", "production → 2 (90 %), 1 (10 %)"),
    ("models versions cat", listed(VERSION), "GET /v1/registry/cat/versions?limit=50", "cat@2"),
    ("models promote m cat --alias production", VERSION, "POST /v1/registry/cat/versions", "cat@production"),
    (
        "models point cat@production 2 --split 1:0.1 --expected 1",
        ALIAS,
        "PUT /v1/registry/cat/aliases/production",
        "2 (90 %), 1 (10 %)",
    ),
    (
        "models rollback cat@production",
        ALIAS,
        "POST /v1/registry/cat/aliases/production/rollback",
        "cat@production",
    ),
    (
        "models history cat@production",
        listed({"number": 3, "cause": "rollback", "version": 1, "restores": 1, "created": 1}),
        "GET /v1/registry/cat/aliases/production/history?limit=50",
        "rollback to 1",
    ),
    ("models forget cat@production", GONE, "DELETE /v1/registry/cat/aliases/production", "x deleted"),
    ("models forget cat@2", GONE, "DELETE /v1/registry/cat/versions/2", "x deleted"),
    ("models forget cat", GONE, "DELETE /v1/registry/cat", "x deleted"),
    ("models export m --format lora --no-wait", EXPORT, "POST /v1/models/m/exports", "exp-1"),
    ("models import file-1 --base m --no-wait", IMPORT, "POST /v1/models/imports", "imported-cat-1"),
    ("models card m", {"id": "m", "markdown": "# m", "facts": {}}, "GET /v1/models/m/card", "# m"),
    ("key create ci --scope read", KEY, "POST /v1/keys", "spk-new"),
    ("key list", listed(KEY), "GET /v1/keys?limit=50", "spk-ne..."),
    ("key show key-1", KEY, "GET /v1/keys/key-1", "ci"),
    ("key rotate key-1 --grace 1h", KEY, "POST /v1/keys/key-1/rotate", "spk-new"),
    ("key revoke key-1", GONE, "DELETE /v1/keys/key-1", "x revoked"),
    ("workers", listed(WORKER), "GET /v1/workers?limit=100", "step 4 of 8"),
    ("queue --limit 5", QUEUE, "GET /v1/queue?limit=5", "2 more jobs"),
    ("audit --object ftjob-1", listed(ENTRY), "GET /v1/audit?object_id=ftjob-1&limit=50", "POST /v1/files"),
    (
        "webhooks create ci https://example.com/ --event dataset.ready",
        HOOK | {"signing_secret": "whsec_x"},
        "POST /v1/webhook_endpoints",
        "whsec_x",
    ),
    ("webhooks list", listed(HOOK), "GET /v1/webhook_endpoints?limit=50", "enabled"),
    (
        "webhooks show wh-1",
        HOOK | {"enabled": False, "disabled_reason": "It answered 410 Gone."},
        "GET /v1/webhook_endpoints/wh-1",
        "It answered 410 Gone.",
    ),
    ("webhooks update wh-1 --name cd", HOOK, "POST /v1/webhook_endpoints/wh-1", "ci"),
    ("webhooks enable wh-1", HOOK, "POST /v1/webhook_endpoints/wh-1", "enabled"),
    ("webhooks disable wh-1", HOOK | {"enabled": False}, "POST /v1/webhook_endpoints/wh-1", "disabled"),
    (
        "webhooks rotate wh-1",
        HOOK | {"signing_secret": "whsec_y"},
        "POST /v1/webhook_endpoints/wh-1/rotate_secret",
        "whsec_y",
    ),
    (
        "webhooks test wh-1",
        {"webhook_endpoint_id": "wh-1", "event_type": "x", "status_code": 204},
        "POST /v1/webhook_endpoints/wh-1/test",
        "answered 204",
    ),
    (
        "webhooks deliveries wh-1 --status failed",
        listed(DELIVERY),
        "GET /v1/webhook_endpoints/wh-1/deliveries?status=failed&limit=20",
        "whd-01m880v66saaj6w1e7by2v5ed5",
    ),
    (
        "webhooks replay wh-1 --delivery whd-1",
        DELIVERY,
        "POST /v1/webhook_endpoints/wh-1/deliveries/whd-1/replay",
        "whd-01m880v66saaj6w1e7by2v5ed5",
    ),
    (
        "webhooks replay wh-1 --since 3d",
        {"webhook_endpoint_id": "wh-1", "replayed": 4},
        "POST /v1/webhook_endpoints/wh-1/replay",
        "4 deliveries",
    ),
    ("webhooks delete wh-1", GONE, "DELETE /v1/webhook_endpoints/wh-1", "x deleted"),
]
