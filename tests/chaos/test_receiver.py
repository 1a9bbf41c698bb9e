"""The receiver of webhooks, and the proxy before it, told by the platform's own hand."""

import threading
from ipaddress import ip_network

import pytest

from core.webhooks import signing
from core.webhooks.post import Outcome, post
from tests.chaos.proxy import Act, Phase, Proxy
from tests.chaos.receiver import Receiver
from tests.chaos.scene import to_hook
from tests.services import LOOPBACK, free_ports

PATH = "/hook"
BODY = '{"id":"whe-1"}'
SECRET = signing.new_secret()


def tell(port: int, secret: str = SECRET) -> Outcome:
    headers = signing.headers(event_id="whe-1", body=BODY, keys=[secret])
    networks = [ip_network("127.0.0.0/8")]
    return post(f"http://{LOOPBACK}:{port}{PATH}", body=BODY, headers=headers, networks=networks, seconds=60)


def test_what_comes_is_kept_with_its_id_and_whether_it_is_signed() -> None:
    with Receiver() as receiver:
        receiver.expect(PATH, SECRET)
        assert tell(receiver.port).status == 204
        assert tell(receiver.port, signing.new_secret()).status == 400
    assert [(each.id, each.body, each.signed) for each in receiver.got[PATH]] == [
        ("whe-1", BODY, True),
        ("whe-1", BODY, False),
    ]
    assert receiver.got[PATH][0].at <= receiver.got[PATH][1].at


def test_an_event_whose_answer_is_lost_is_there_and_a_refused_one_is_not() -> None:
    [port] = free_ports(1)
    with Receiver() as receiver, Proxy(port, receiver.port, http=True) as proxy:
        receiver.expect(PATH, SECRET)
        for act, phase, there in [
            (Act.refuse, Phase.asked, 0),
            (Act.cut, Phase.asked, 0),
            (Act.cut, Phase.half, 0),
            (Act.cut, Phase.answered, 1),
        ]:
            rule = proxy.add(to_hook(PATH, act, phase))
            assert not tell(port).delivered
            assert rule.met.is_set()
            assert len(receiver.got[PATH]) == there, (act, phase)
        assert tell(port).delivered
    assert len(receiver.got[PATH]) == 2


@pytest.mark.parametrize(("phase", "there"), [(Phase.asked, 0), (Phase.answered, 1)])
def test_an_event_is_stranded_until_its_sender_is_dead(phase: Phase, there: int) -> None:
    [port] = free_ports(1)
    with Receiver() as receiver, Proxy(port, receiver.port, http=True) as proxy:
        receiver.expect(PATH, SECRET)
        rule = proxy.add(to_hook(PATH, Act.strand, phase))
        sender = threading.Thread(target=tell, args=(port,))
        sender.start()
        assert rule.met.wait(60)
        sender.join(0.2)
        assert sender.is_alive()
        proxy.drop(rule)
        sender.join(60)
    assert len(receiver.got[PATH]) == there
