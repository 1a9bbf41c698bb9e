"""The fault proxy before a real object store."""

import io
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from core.errors import StoreUnavailable
from core.storage.s3 import S3Store
from tests.chaos.proxy import Act, Phase, Proxy, Rule
from tests.services import free_ports

KEY = "chaos/proxy/one"
DATA = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def proxy(seaweedfs_url: str) -> Iterator[Proxy]:
    upstream = urlsplit(seaweedfs_url).port
    assert upstream is not None
    [port] = free_ports(1)
    with Proxy(port, upstream, http=True) as running:
        yield running


@pytest.fixture
def store(proxy: Proxy, seaweedfs_url: str) -> S3Store:
    upstream = urlsplit(seaweedfs_url).port
    return S3Store.from_url(seaweedfs_url.replace(f":{upstream}/", f":{proxy.port}/"))


def put(store: S3Store, data: bytes = DATA) -> None:
    store.put(KEY, io.BytesIO(data), len(data))


def get(store: S3Store) -> bytes:
    with store.open(KEY) as stream:
        return stream.read()


def of(method: str) -> Rule:
    return Rule(lambda asked, path: asked == method and KEY in path, Act.refuse)


def test_without_rules_everything_passes(store: S3Store) -> None:
    put(store)
    assert get(store) == DATA
    assert list(store.list("chaos/proxy/")) == [KEY]
    store.delete(KEY)
    assert not store.exists(KEY)


def test_a_few_refusals_are_overcome_and_many_are_told(store: S3Store, proxy: Proxy) -> None:
    rule = proxy.add(of("PUT"))
    rule.times = 2
    put(store)
    assert rule.times == 0
    rule = proxy.add(of("PUT"))
    rule.times = 100
    with pytest.raises(StoreUnavailable):
        put(store, b"new")
    proxy.drop(rule)
    assert get(store) == DATA


@pytest.mark.parametrize("phase", [Phase.asked, Phase.half, Phase.answered])
def test_a_cut_upload_is_sent_again(store: S3Store, proxy: Proxy, phase: Phase) -> None:
    rule = proxy.add(Rule(lambda method, path: method == "PUT" and KEY in path, Act.cut, phase))
    put(store)
    assert rule.met.is_set()
    assert get(store) == DATA


def test_a_lost_answer_means_that_the_object_is_there(store: S3Store, proxy: Proxy) -> None:
    rule = proxy.add(of("PUT"))
    rule.act, rule.phase, rule.times = Act.cut, Phase.answered, 100
    with pytest.raises(StoreUnavailable):
        put(store, b"stored all the same")
    proxy.drop(rule)
    assert get(store) == b"stored all the same"


def test_a_request_is_held_until_it_is_let_go(store: S3Store, proxy: Proxy) -> None:
    rule = proxy.add(Rule(lambda method, path: method == "PUT" and KEY in path, Act.hold, Phase.half))
    sender = threading.Thread(target=put, args=(store, b"held"))
    sender.start()
    assert rule.met.wait(60)
    assert KEY in rule.path
    sender.join(0.2)
    assert sender.is_alive()
    proxy.drop(rule)
    sender.join(60)
    assert get(store) == b"held"
