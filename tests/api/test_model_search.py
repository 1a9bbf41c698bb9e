"""Models, found by a part of their id and by what they are."""

import pytest

from tests.api.platform import Running


def found(platform: Running, **query: str) -> list[str]:
    answer = platform.client.get("/v1/models", params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


def test_models_are_found_by_a_part_of_their_id_and_by_kind(platform: Running) -> None:
    job = platform.job(suffix="Fox_1")
    platform.work()
    model = platform.client.get(f"/v1/fine_tuning/jobs/{job['id']}").json()["fine_tuned_model"]
    assert found(platform, search="fox_") == [model]
    assert found(platform, search="FOX", kind="result") == [model]
    assert found(platform, search="%") == []
    assert found(platform, search="fox", kind="base") == []
    assert found(platform, kind="result") == [model]
    assert "tiny" in found(platform, kind="base")


@pytest.mark.parametrize(
    "query", [{"kind": "checkpoint"}, {"kind": ""}, {"search": ""}, {"search": "x" * 101}]
)
def test_a_search_for_what_there_cannot_be_is_refused(embedded: Running, query: dict[str, str]) -> None:
    answer = embedded.client.get("/v1/models", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, next(iter(query)))
