"""Seeds of the simulated session: nothing that was acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from latticewatch.client.outbox import Outbox
from latticewatch.receiving import allowance

sys.path.insert(0, str(Path(__file__).parent))

import parts
import session

#: Seeds of one test; a failing one names itself and the command that runs it alone.
EACH = 250


@pytest.mark.parametrize("first", range(0, 2000, EACH))
def test_promises_hold(first):
    for seed in range(first, first + EACH):
        session.run(seed)


#: Each of them found something: false acknowledgements of what an earlier epoch lacks, and numbers
#: given twice where the last of them were settled first.
FOUND = (3481, 12437, 20133, 33458, 49216, 54382, 68007, 73158)


@pytest.mark.parametrize("seed", FOUND)
def test_promises_hold_where_they_once_did_not(seed):
    session.run(seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 100_000, 10_000))
def test_promises_hold_for_long(first):
    for seed in range(first, first + 10_000):
        session.run(seed)


def shows_in(seeds):
    """Whether one of these seeds shows that something is broken, and says how to run it again."""
    for seed in range(seeds):
        try:
            session.run(seed)
        except session.BrokenPromiseError as error:
            return f"session.py {seed} --trace" in str(error)
    return False


def test_a_publisher_that_forgets_what_is_in_flight_is_found_out(monkeypatch):
    monkeypatch.setattr(Outbox, "rewind", lambda self: self._flight.clear())
    assert shows_in(20)


def test_a_spool_that_is_not_synced_is_found_out(monkeypatch):
    monkeypatch.setattr(parts.Disk, "sync", lambda self, file: None)
    # numbers are given twice where a power cut takes back what was sent: a rare order of events
    assert shows_in(200)


def test_a_port_that_takes_what_came_after_a_frame_turned_away_is_found_out(monkeypatch):
    monkeypatch.setattr(allowance, "_precedes", lambda key, awaited: True)
    assert shows_in(200)


def test_a_port_that_waits_for_ever_is_found_out(monkeypatch):
    monkeypatch.setattr(allowance, "MOST_IN_FLIGHT", 10**9)
    assert shows_in(200)


def test_a_source_that_does_not_remember_its_numbers_is_found_out(monkeypatch):
    whole = parts.continued
    monkeypatch.setattr(
        parts, "continued", lambda last, epoch, **of: whole(last, epoch, doubtful=of["doubtful"])
    )
    assert shows_in(200)


def test_an_acknowledgement_before_the_commit_is_found_out(monkeypatch):
    original = parts.Service.receive

    def receive(self, connection, message):
        original(self, connection, message)
        for one in self.queue:
            if isinstance(one, parts.Arrival):
                parts.finished(self._ingest.ack(one.stream, one.epoch, [one.seq]))

    monkeypatch.setattr(parts.Service, "receive", receive)
    assert shows_in(200)
