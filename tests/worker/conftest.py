"""What tests with real workers may ask for."""

from collections.abc import Iterator

import pytest

from tests.conftest import PROFILES, Servers


@pytest.fixture(params=PROFILES)
def urls(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What the settings of each profile say of its parts."""
    if request.param == "embedded":
        yield {}
        return
    servers: Servers = request.getfixturevalue("servers")
    with servers.cluster() as found:
        yield found
