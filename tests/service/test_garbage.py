"""Mutated messages and greetings of strangers: nothing crashes, good frames are undisturbed.

The long form, a million messages with the service's memory watched: ``python bench/garbage.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import zmq

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import garbage

from latticewatch.client import Subscriber
from latticewatch.processes import running_service, until_subscribed
from latticewatch.publishing import _possible
from latticewatch.storage.session import Session
from latticewatch.storage.store import Store


def test_decoders_refuse_or_read_whatever_comes(tmp_path):
    with Store.open(tmp_path / "a"):
        pass
    seen = garbage.against_decoders(20_000, 1, tmp_path)
    assert seen.total() == 20_000
    assert seen["refused"] > 10_000
    assert seen["read"] > 100, "mutations that are all nonsense test the first check alone"


def test_good_frames_are_undisturbed_on_a_live_port(tmp_path):
    live = garbage.against_ports(2000, 2, tmp_path)
    assert live.undisturbed
    assert live.answers > 1000
    with Session.open_read(tmp_path / "amid") as session:
        assert {row["status"] for row in session.frames()} == {"ok"}


@pytest.mark.parametrize(
    ("prefix", "possible"),
    [
        (b"", True), (b"def", True), (b"defects/", True), (b"defects/a.b", True), (b"health", True),
        (b"alert/" + b"x" * 64, True), (b"defectsx", False), (b"other/a", False),
        (b"defects/.a", False), (b"defects/a/b", False), (b"\xff\x00", False),
        (b"defects/\xff", False), (b"health/a", False), (b"alert/" + b"x" * 65, False),
    ],
)  # fmt: skip
def test_subscriptions_that_fit_no_topic_are_not_kept(prefix, possible):
    assert _possible(prefix) == possible


def test_what_is_no_subscription_does_not_end_the_results_port(tmp_path):
    """An XSUB socket sends the publisher whatever it likes, in several parts too."""
    with running_service(tmp_path) as (service, ports):
        context = zmq.Context()
        stranger = context.socket(zmq.XSUB)
        stranger.set(zmq.LINGER, 0)
        stranger.connect(ports["results"])
        stranger.send_multipart([b"\x01", b"two parts"])
        stranger.send_multipart([b"", b""])
        stranger.send(b"\x07 no subscription")
        stranger.send(b"\x01health")  # the last of them, and it is answered
        assert stranger.poll(20_000)
        context.destroy(linger=0)
        with Subscriber(ports["results"], topics=("health",)) as results:
            until_subscribed(results, 20)
        assert service.poll() is None
