"""A service on two GPUs, doubles both, one of which is lost while two streams run."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from gpus import Gpus

from latticewatch.client.asking import QueryClient
from latticewatch.client.messages import Health, Statistics
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.config import load_settings
from latticewatch.processes import until_subscribed
from latticewatch.report.contents import read_contents
from latticewatch.report.methods import computed, paragraphs
from latticewatch.service import Listening, Service
from latticewatch.storage.session import Session
from latticewatch_models.microscope import Microscope

WAIT_S = 60.0
ANY = "tcp://127.0.0.1:*"

FRAMES = 12
#: Frames of the first stream that are committed when its device is lost; the next are in hand.
BEFORE = 4


def settings(data, device: str):
    return load_settings(
        endpoints={"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""},
        store={"data": data},
        analysis={"device": device},
    )


def play(service: Service, scene) -> None:
    """Run `scene` in a thread, beside the service."""

    async def both() -> None:
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(service.run(stop, ready.set_result))
        try:
            await asyncio.to_thread(scene, await asyncio.wait_for(ready, WAIT_S))
        finally:
            stop.set()
            await task

    asyncio.run(both())


def received(results: Subscriber, well):
    """The first message for which `well` is true."""
    while not well(message := results.receive(WAIT_S)):
        pass
    return message


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [frame.image for frame in Microscope("WS2", (128, 128), seed=6).frames(FRAMES)]


class Scene:
    """Two streams on two devices, the first of which is lost when some frames are committed."""

    def __init__(self, images, lose) -> None:
        self.images, self.lose = images, lose
        self.health: Health | None = None
        self.answers: dict[str, dict] = {}

    def __call__(self, at: Listening) -> None:
        with (
            Subscriber(at.results, topics=("statistics", "health")) as results,
            Publisher(at.frames, "a") as first,
            Publisher(at.frames, "b") as second,
        ):
            until_subscribed(results, WAIT_S)
            for publisher in (first, second):  # so that the first comes to the first device
                publisher.send(self.images[0], time_s=0.0)
                assert publisher.flush(WAIT_S)
            for k in range(1, FRAMES):
                for publisher in (first, second):
                    publisher.send(self.images[k], time_s=float(k))
                if k == BEFORE:
                    received(results, committed)
                    self.lose()
            finish(first, second)
            self.health = received(results, lambda m: isinstance(m, Health) and m.values["fallen"])
        client = QueryClient(at.queries, WAIT_S)
        self.answers = {stream: client.ask("checks", stream=stream) for stream in "ab"}


def committed(message) -> bool:
    return isinstance(message, Statistics) and (message.stream, message.frame) == ("a", BEFORE)


def finish(*publishers: Publisher) -> None:
    for publisher in publishers:
        publisher.end()
        assert publisher.flush(WAIT_S)
        assert not publisher.errors


@pytest.fixture
def scene(device_double, images, tmp_path, monkeypatch):
    """A scene that has been played, with its service; sessions are in `tmp_path`."""
    monkeypatch.setattr("latticewatch.service.HEALTH_EVERY_S", 0.05)
    service = Service(settings(tmp_path, "cuda:0,cuda:1"), machine=Gpus().machine)

    def lose() -> None:
        device_double.faults[0] = device_double.DeviceLostError("cudaErrorUnknown")

    scene = Scene(images, lose)
    play(service, scene)
    return scene, service


@pytest.fixture(scope="module")
def expected(images, tmp_path_factory):
    """Frames of a service on the host."""
    folder = tmp_path_factory.mktemp("host")

    def send(at: Listening) -> None:
        with Publisher(at.frames, "a") as publisher:
            for k, image in enumerate(images):
                publisher.send(image, time_s=float(k))
            finish(publisher)

    play(Service(settings(folder, "cpu")), send)
    with Session.open_read(folder / "a") as session:
        assert [row["arrays"] for row in session.computed()] == ["host"]
        return session.frames()


@pytest.mark.expects_errors
def test_a_gpu_that_is_lost_loses_no_frame_and_its_streams_go_on_on_the_other(
    scene, expected, tmp_path
):
    played, service = scene
    rows = {}
    for stream in "ab":
        with Session.open_read(tmp_path / stream) as session:
            frames, rows[stream] = session.frames(), session.computed()
        assert [(row["seq"], row["status"]) for row in frames] == [(k, "ok") for k in range(FRAMES)]
        assert [row["n_defects"] for row in frames] == [row["n_defects"] for row in expected]
        assert played.answers[stream]["computed"] == rows[stream]
    assert [(row["frame"], row["arrays"]) for row in rows["b"]] == [(0, "cuda:1")]
    first, *later = rows["a"]
    assert (first["frame"], first["arrays"]) == (0, "cuda:0")
    assert all(row["frame"] > BEFORE for row in later)
    assert "host" in {row["arrays"] for row in later}
    assert later[-1]["arrays"] == "cuda:1"
    assert {row["reason"] for row in later} == {"cuda:0 failed (cudaErrorUnknown)"}
    assert played.health.state == "degraded"
    assert played.health.values["devices"]["cuda:0"]["lost"] == "cudaErrorUnknown"
    assert played.health.values["devices"]["cuda:1"]["streams"] == ["a", "b"]
    metric = service.metrics.registry.get_sample_value
    moved = {"before": "cuda:0", "after": "cuda:1"}
    assert metric("latticewatch_device_moves_total", moved) == 1
    fell = {"before": "cuda:0", "after": "host"}
    assert metric("latticewatch_provider_falls_total", fell) == 1


@pytest.mark.expects_errors
def test_the_report_says_which_frames_were_computed_on_what(scene, tmp_path):
    moved, steady = (read_contents(tmp_path / stream) for stream in "ab")
    rows = computed(moved).rows
    assert rows[0][:2] == ("0", "cuda")
    assert "cuda:0 failed (cudaErrorUnknown)" in rows[-1]
    assert "not all on the same processor" in " ".join(paragraphs(moved))
    assert "run by cuda on cuda:1, arrays on cuda:1" in " ".join(paragraphs(steady))
