"""Deliveries to a real receiver."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate
from pathlib import Path

import pytest

from serving.errors import InvalidInput
from serving.events.receiver import Outcome, Receiver, seconds_of
from tests.support.certificates import certificate
from tests.support.events import made, settings
from tests.support.webhooks import Webhook, receiving


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with receiving() as running:
        yield running


def test_delivers_a_signed_event(webhook: Webhook, tmp_path: Path) -> None:
    with closing(Receiver(settings(tmp_path, webhook.url))) as receiver:
        assert receiver.send(made(7)) == Outcome("delivered")
        assert receiver.send(made(8)) == Outcome("delivered")
    assert webhook.events == [made(7), made(8)]
    assert webhook.unsigned == 0
    identifier, headers = webhook.tries[0]
    assert identifier == headers["webhook-id"] == made(7)["id"]
    assert headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 5


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (400, {}, Outcome("refused", "status 400")),
        (500, {}, Outcome("refused", "status 500")),
        (401, {}, Outcome("away", "status 401")),
        (503, {"Retry-After": "7"}, Outcome("away", "status 503", 7.0)),
        (429, {"Retry-After": "soon"}, Outcome("away", "status 429")),
    ],
)
def test_an_error_is_of_the_event_or_of_the_receiver(
    webhook: Webhook, tmp_path: Path, status: int, headers: dict[str, str], outcome: Outcome
) -> None:
    webhook.answer = lambda event: (status, headers)
    with closing(Receiver(settings(tmp_path, webhook.url))) as receiver:
        assert receiver.send(made(7)) == outcome


def test_a_redirect_is_not_followed(webhook: Webhook, tmp_path: Path) -> None:
    webhook.answer = lambda event: (307, {"Location": webhook.url + "/elsewhere"})
    with closing(Receiver(settings(tmp_path, webhook.url))) as receiver:
        assert receiver.send(made(7)) == Outcome("away", "status 307")
    assert len(webhook.tries) == 1


def test_neither_silence_nor_drops_hold_it_up(webhook: Webhook, tmp_path: Path) -> None:
    def drip(handler: object) -> None:
        for _ in range(100):
            try:
                handler.wfile.write(b"HTTP/1.1 204 No")  # type: ignore[attr-defined]
                handler.wfile.flush()  # type: ignore[attr-defined]
            except OSError:
                return
            time.sleep(0.05)

    with closing(Receiver(settings(tmp_path, webhook.url, timeout_s=0.3))) as receiver:
        for delay in (lambda handler: time.sleep(0.6), drip):
            webhook.delay = delay
            start = time.monotonic()
            assert receiver.send(made(7)).result == "away"
            assert time.monotonic() - start < 4  # the drops would last for 5
        webhook.delay = lambda handler: None
        assert receiver.send(made(7)) == Outcome("delivered")


def test_nobody_listens(tmp_path: Path) -> None:
    with receiving() as gone:
        url = gone.url
    with closing(Receiver(settings(tmp_path, url))) as receiver:
        assert receiver.send(made(7)).result == "away"


def test_a_key_file_that_is_gone_stops_deliveries_alone(webhook: Webhook, tmp_path: Path) -> None:
    own = settings(tmp_path, webhook.url)
    with closing(Receiver(own)) as receiver:
        (tmp_path / "key").rename(tmp_path / "other")
        assert "cannot be read" in receiver.send(made(7)).problem
        (tmp_path / "other").rename(tmp_path / "key")
        assert receiver.send(made(7)) == Outcome("delivered")


def test_the_certificate_is_verified(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    with receiving(certificate=(chain, key)) as webhook:
        with closing(Receiver(settings(tmp_path, webhook.url))) as receiver:
            assert "certificate" in receiver.send(made(7)).problem.lower()
        own = settings(tmp_path, webhook.url, ca_file=str(chain))
        with closing(Receiver(own)) as receiver:
            assert receiver.send(made(7)) == Outcome("delivered")


def test_authorities_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="ca_file"):
        Receiver(settings(tmp_path, ca_file=str(tmp_path / "missing")))


def test_retry_after() -> None:
    now = 1_000_000.0
    assert seconds_of(None, now) is None
    assert seconds_of("120", now) == 120
    assert seconds_of(formatdate(now + 30, usegmt=True), now) == 30
    assert seconds_of(formatdate(now - 30, usegmt=True), now) == 0
    assert seconds_of("-5", now) is None
