"""Hostile bodies of requests: each is answered by a problem+json, and changes nothing."""

from tests.api.platform import Running

DEEP = b"[" * 100_000 + b"]" * 100_000
NAMED = b'{"name": "set", "file": "file-1", '
BODIES = {
    "deep": DEEP,
    "deep in a field": NAMED + b'"split": ' + DEEP + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "never closed": b'{"name": "set"',
    "NaN": NAMED + b'"tolerance": NaN}',
    "infinity": NAMED + b'"tolerance": Infinity}',
    "1e400": NAMED + b'"tolerance": 1e400}',
    "minus 1e400": NAMED + b'"tolerance": -1e400}',
    "long number": NAMED + b'"tolerance": ' + b"9" * 100_000 + b"}",
    "long seed": NAMED + b'"split": {"validation": 0.1, "seed": ' + b"9" * 400 + b"}}",
    "zero": b'{"name": "se\\u0000t", "file": "file-1"}',
    "zero in an id": b'{"name": "set", "file": "file-\\u0000"}',
    "zero in a column": NAMED + b'"columns": {"image": "a\\u0000"}}',
    "raw zero": b'{"name": "se\0t", "file": "file-1"}',
    "surrogate": b'{"name": "\\ud800", "file": "file-1"}',
    "surrogate in an id": b'{"name": "set", "file": "\\udfff"}',
    "surrogate in a column": NAMED + b'"columns": {"image": "\\ud800"}}',
    "not UTF-8": b'{"name": "\xff\xfe", "file": "file-1"}',
    "UTF-16": '{"name": "set"}'.encode("utf-16"),
    "a list": b"[]",
    "a text": b'"set"',
    "null": b"null",
    "nothing": b"",
    "unknown": NAMED + b'"__class__": "os.system"}',
    "tolerance": NAMED + b'"tolerance": 1.5}',
    "share": NAMED + b'"split": {"validation": 0.9}}',
    "no share": NAMED + b'"split": {"validation": 0}}',
    "kind": NAMED + b'"split": {"validation": 0.1, "by": "moon"}}',
    "long name": b'{"name": "' + b"n" * 5000 + b'", "file": "file-1"}',
}
QUERIES = ["rows?after=1e400", "rows?limit=NaN", "rejected?after=-1", "rejected?x=1", "overlap", "rows?a=%00"]


def test_hostile_bodies_are_problems_and_change_nothing(platform: Running) -> None:
    before = platform.counts()
    wrong = []
    for name, body in BODIES.items():
        for more in ({}, {"Idempotency-Key": name}):
            headers = {"Content-Type": "application/json"} | more
            answer = platform.client.post("/v1/datasets", content=body, headers=headers)
            kind = answer.headers["content-type"]
            if answer.status_code not in (400, 422) or kind != "application/problem+json":
                wrong.append((name, more, answer.status_code, answer.text[:200]))
    assert wrong == []
    assert platform.counts() == before


def test_hostile_queries_are_problems(platform: Running) -> None:
    for query in QUERIES:
        answer = platform.client.get(f"/v1/datasets/ds-1/{query}")
        assert answer.status_code == 422, query
        assert answer.headers["content-type"] == "application/problem+json"
