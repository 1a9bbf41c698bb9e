"""One request: signed, to the address that was checked, without redirects, within its time."""

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from openai import InvalidWebhookSignatureError, OpenAI
from standardwebhooks import Webhook, WebhookVerificationError

from core.webhooks import signing
from core.webhooks.events import EventType, body_of, new_event_id
from core.webhooks.post import ANSWER_BYTES, Outcome, post
from tests.spindle.scripted import Answer, scripted

HERE = (ip_network("127.0.0.0/8"),)
PEM = Path(__file__).with_name("hooks.test.pem")


def sent(url: str, **more: Any) -> Outcome:
    given: dict[str, Any] = {"body": "{}", "headers": {}, "networks": HERE, "seconds": 30.0} | more
    return post(url, **given)


def test_what_is_sent_is_verified_by_the_standards_library_and_by_openais() -> None:
    key, old = signing.new_secret(), signing.new_secret()
    event_id = new_event_id()
    body = body_of(event_id, EventType.job_succeeded, {"id": "ftjob-1", "status": "succeeded"})
    headers = signing.headers(event_id=event_id, body=body, keys=(key, old))
    with scripted(Answer(204, b"")) as script:
        outcome = sent(f"{script.url}/hook?a=b", body=body, headers=headers)
    assert (outcome.delivered, outcome.status, outcome.error) == (True, 204, None)
    [asked] = script.asked
    assert (asked.method, asked.path, asked.headers["content-type"]) == (
        "POST",
        "/hook?a=b",
        "application/json",
    )
    for secret in (key, old):
        told = Webhook(secret).verify(asked.body, asked.headers)
        assert (told["id"], told["type"]) == (event_id, "fine_tuning.job.succeeded")
        assert told["data"] == {"id": "ftjob-1", "status": "succeeded"}
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(asked.body, asked.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(asked.body + b" ", asked.headers)
    client = OpenAI(api_key="unused")
    event = client.webhooks.unwrap(asked.body, asked.headers, secret=key)
    assert (event.type, event.object, event.data.id) == ("fine_tuning.job.succeeded", "event", "ftjob-1")
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.unwrap(asked.body, asked.headers, secret=signing.new_secret())


def test_a_secret_is_as_the_standard_has_it_and_its_hint_does_not_tell_it() -> None:
    secret = signing.new_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert signing.hint("whsec_QUJDREVGR0g=") == "whsec_...GR0g"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_refusal_and_is_not_followed(status: int) -> None:
    with scripted() as script:
        script.answers.append(Answer(status, b"", {"Location": f"{script.url}/elsewhere"}))
        outcome = sent(f"{script.url}/hook")
    assert (outcome.delivered, outcome.status, len(script.asked)) == (False, status, 1)


def test_an_address_that_may_not_be_reached_is_not() -> None:
    with scripted() as script:
        refused = sent(script.url, networks=())
        assert sent(script.url.replace("http:", "https:"), networks=()).error == refused.error
    assert script.asked == []
    assert refused.error == "the host's name leads to an address that webhooks may not be sent to"
    assert (refused.status, refused.delivered) == (None, False)


def test_a_name_is_looked_up_once_and_what_was_checked_is_what_is_connected_to() -> None:
    """A second look-up could lead elsewhere than the first, which was checked (DNS rebinding)."""
    asked: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with scripted(Answer(200, b"")) as script:
        port = int(script.url.rpartition(":")[2])
        outcome = sent(f"http://hooks.test:{port}/", resolver=resolver)
    assert outcome.delivered
    assert asked == [("hooks.test", port)]
    assert script.asked[0].headers["host"] == f"hooks.test:{port}"


def test_one_bad_address_among_good_ones_is_enough_to_refuse() -> None:
    with scripted() as script:
        port = script.url.rpartition(":")[2]
        outcome = sent(f"http://hooks.test:{port}/", resolver=lambda *_: ["127.0.0.1", "169.254.169.254"])
    assert outcome.error is not None
    assert "169.254" not in outcome.error
    assert script.asked == []


def test_a_name_that_leads_nowhere_and_a_port_where_nobody_listens_are_outcomes() -> None:
    def nowhere(*_: object) -> list[str]:
        raise socket.gaierror("no such name")

    assert "leads nowhere" in (sent("http://hooks.test/", resolver=nowhere).error or "")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = sent(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert (outcome.error or "").startswith("ConnectError")


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """Serve one connection a byte at a time, without an end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            opened, _ = listening.accept()
            with opened:
                try:
                    opened.sendall(head)
                    while True:
                        opened.sendall(b"x")
                        time.sleep(0.02)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join()


def test_no_drip_of_bytes_outlasts_the_deadline() -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nX-Long: ") as url:
        began = time.monotonic()
        outcome = sent(url, seconds=1.0)
        assert time.monotonic() - began < 20
    assert (outcome.delivered, outcome.status) == (False, None)
    assert (outcome.error or "").startswith("ReadTimeout: ")


def test_only_the_head_of_an_answer_is_read() -> None:
    with dripping(b"HTTP/1.1 200 OK\r\n\r\n" + b"a\x00b\x1b[2J" + b"y" * ANSWER_BYTES) as url:
        outcome = sent(url)
    assert outcome.delivered
    assert outcome.answer is not None
    assert outcome.answer.startswith("ab[2Jyyy")
    assert len(outcome.answer) <= ANSWER_BYTES


def test_an_endpoint_may_ask_for_patience() -> None:
    for told, seconds in (("120", 120.0), ("-1", None), ("soon", None)):
        with scripted(Answer(503, b"", {"Retry-After": told})) as script:
            assert sent(script.url).retry_after == seconds


@contextmanager
def over_tls() -> Iterator[int]:
    """Serve over TLS, as hooks.test, and yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"got": len(body)}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up are what is tested
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_over_tls_the_name_is_what_is_verified_and_not_the_address() -> None:
    trust = ssl.create_default_context(cafile=str(PEM))
    to_here: Any = {"resolver": lambda *_: ["127.0.0.1"]}
    with over_tls() as port:
        good = sent(f"https://hooks.test:{port}/", tls=trust, **to_here)
        other = sent(f"https://other.test:{port}/", tls=trust, **to_here)
        stranger = sent(f"https://hooks.test:{port}/", **to_here)
    assert (good.status, good.answer) == (200, '{"got": 2}')
    for refused in (other, stranger):
        assert refused.status is None
        assert "CERTIFICATE_VERIFY_FAILED" in (refused.error or "")
