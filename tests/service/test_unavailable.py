"""A session that cannot be opened: frames wait at their source, and count once it can be."""

from __future__ import annotations

from latticewatch.client.messages import Health
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import running_service
from latticewatch.storage.store import Store
from latticewatch_models.microscope import Microscope


def next_health(results: Subscriber, state: str) -> Health:
    while True:
        message = results.receive(30)
        if isinstance(message, Health) and message.state == state:
            return message


def test_frames_wait_for_a_session_that_another_program_holds(tmp_path):
    holder = Store.open(tmp_path / "held")
    try:
        with (
            running_service(tmp_path) as (_, ports),
            Subscriber(ports["results"], topics=("health",)) as results,
            Publisher(ports["frames"], "held", ack_timeout_s=1.0) as publisher,
        ):
            for frame in Microscope(shape=(128, 128), seed=2).frames(3):
                publisher.send(frame.image, time_s=frame.time_s, **frame.header)
            health = next_health(results, "degraded")
            assert "held by another service" in health.values["unavailable"]["held"]
            assert publisher.stats.pending == 3
            assert not publisher.errors
            holder.close()
            assert publisher.flush(30)
            assert publisher.stats.acked == 3
            next_health(results, "ok")
    finally:
        holder.close()
