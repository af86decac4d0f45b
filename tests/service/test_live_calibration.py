"""A service through its sockets whose model is bad: it says so, trains, changes in mid-stream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from latticewatch.agreement import Counts
from latticewatch.analysis import Analyser
from latticewatch.cli import main
from latticewatch.client.asking import QueryClient
from latticewatch.client.messages import Defects, Health, Statistics
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.config import load_settings
from latticewatch.processes import running_service, until_subscribed
from latticewatch.segmenters import CONFIGURED, SELF_TRAINED, Model
from latticewatch.service import Listening, Service
from latticewatch.standing import agreement_of
from latticewatch.storage.session import Session
from latticewatch_models.microscope import Microscope, SpecimenConfig
from latticewatch_models.runtime import ZOO_MODEL, Segmenter

WAIT_S = 60.0
ANY = "tcp://127.0.0.1:*"

#: More frames than any of these scenes takes; then it has failed.
MOST = 400

#: Frames in flight: several are with the workers when the model changes.
AHEAD = 8


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    specimen = SpecimenConfig(metal_vacancy_fraction=0.05)
    return [frame.image for frame in Microscope("WS2", (128, 128), 3, specimen).frames(12)]


def settings(data: Path, model: Path, **calibration):
    chosen = {"every": 2, "window": 3, "patience": 2, "frames": 4, **calibration}
    return load_settings(
        endpoints={"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""},
        store={"data": data},
        analysis={"model": model},
        calibration=chosen,
    )


def copy_shipped(movie: Path, frames: int, out: Path) -> list[str]:
    code = "import shutil, sys; shutil.copy(*sys.argv[1:])"
    return [sys.executable, "-c", code, str(ZOO_MODEL), str(out)]


@contextlib.asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Listening]:
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(stop, ready.set_result))
    try:
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            task.result()
        yield ready.result()
    finally:
        stop.set()
        await task


class Stream:
    """Sends the images over and over, a few frames ahead of the results."""

    def __init__(self, publisher: Publisher, results: Subscriber, images) -> None:
        self._publisher, self._results, self._images = publisher, results, images
        self.sent = 0
        self.told: list[Statistics] = []

    def until(self, well) -> int:
        """Send until `well` is true of the statistics; gives the frame that they are of."""
        for _ in range(AHEAD):
            self.send()
        while self.sent < MOST:
            message = self._results.receive(WAIT_S)
            if isinstance(message, Defects):
                self.send()
            elif isinstance(message, Statistics):
                self.told.append(message)
                if well(message.data):
                    return message.frame
        raise AssertionError(f"not in {MOST} frames: {self.told[-1].data['calibration']}")

    def send(self) -> None:
        self._publisher.send(self._images[self.sent % len(self._images)], time_s=float(self.sent))
        self.sent += 1

    def end(self) -> None:
        self._publisher.end()
        assert self._publisher.flush(WAIT_S)
        assert not self._publisher.errors


def recovered(data) -> bool:
    return data["model"]["origin"] == SELF_TRAINED and not data["calibration"]["low"]


def fallen(data) -> bool:
    return data["calibration"]["low"]


def play(service: Service, images, scene) -> Stream:
    """Run `scene` in a thread, beside the service."""

    async def both() -> Stream:
        async with serving(service) as at:

            def act() -> Stream:
                with (
                    Subscriber(at.results, "s", ("defects", "statistics", "health")) as results,
                    Publisher(at.frames, "s") as publisher,
                ):
                    # frames sent before the service knows its subscriber would not be told
                    until_subscribed(results, WAIT_S)
                    stream = Stream(publisher, results, images)
                    scene(stream, at)
                    return stream

            return await asyncio.to_thread(act)

    return asyncio.run(both())


def digest(model: Path | None) -> str:
    return Model.of(Segmenter(model, threads=1)).record.digest


@pytest.fixture(scope="module")
def trained(tmp_path_factory, blunt, images):
    """A session that began with a model that sees nothing and went on with the shipped one."""
    data = tmp_path_factory.mktemp("data")
    service = Service(settings(data, blunt, self_train=True), copy_shipped)

    def scene(stream: Stream, at: Listening) -> None:
        stream.until(recovered)
        stream.end()

    stream = play(service, images, scene)
    return data, service, stream


def test_the_model_changes_between_two_frames_and_none_is_lost(trained, blunt, images):
    data, service, stream = trained
    with Session.open_read(data / "s") as session:
        rows, models, checks = session.frames(), session.models(), session.checks()
        tables = [session.defects(k, k) for k in range(len(rows))]
    assert [(row["frame"], row["seq"], row["status"]) for row in rows] == [
        (k, k, "ok") for k in range(stream.sent)
    ]
    assert [(row["digest"], row["origin"]) for row in models] == [
        (digest(blunt), CONFIGURED),
        (digest(None), SELF_TRAINED),
    ]
    assert "in place of 0.00" in models[1]["reason"]
    first = models[1]["frame"]
    assert 0 < first < stream.sent
    analysers = [Analyser(Segmenter(path, threads=1)) for path in (blunt, None)]
    for k, table in enumerate(tables):
        expected = analysers[k >= first](images[k % len(images)])
        # chalcogen columns speak for themselves, whatever the model, and those beside a dopant are
        # told by its state; other threads of the BLAS add up in another order
        metal = [np.sort(t.x_px[np.asarray(t.sublattice) == 0]) for t in (table, expected)]
        assert metal[0] == pytest.approx(metal[1], abs=1e-4), k
    marked = [int((np.asarray(table.sublattice) == 0).sum()) for table in tables]
    # the blunt model marks nothing: what stands out beyond doubt is reported all the same
    assert np.mean(marked[:first]) < np.mean(marked[first:])
    # the new model answers for itself alone
    fresh = next(row for row in checks if row["frame"] >= first)
    alone = agreement_of(Counts(fresh["agreed"], fresh["missed"], fresh["unlabelled"]), 1)
    assert fresh["agreement"] == pytest.approx(alone.mean)
    for row in checks:
        assert row["model"] == models[row["frame"] >= first]["digest"]
    assert [row["frame"] for row in checks] == list(range(0, stream.sent, 2))
    metric = service.metrics.registry.get_sample_value
    assert metric("latticewatch_model_switches_total", {"stream": "s"}) == 1
    assert metric("latticewatch_agreement_low", {"stream": "s"}) == 0
    assert metric("latticewatch_agreement", {"stream": "s", "bound": "mean"}) > 0.85
    done = {"stream": "s", "outcome": "swapped"}
    assert metric("latticewatch_self_trainings_total", done) == 1
    missed = {"stream": "s", "result": "missed"}
    counted = metric("latticewatch_checked_columns_total", missed)
    assert counted == sum(row["missed"] for row in checks)


def test_subscribers_see_agreement_fall_and_return(trained, blunt):
    _, _, stream = trained
    told = [message.data for message in stream.told]
    low = [data["calibration"]["low"] for data in told]
    assert not low[0]
    assert any(low)
    assert not low[-1]
    assert {data["model"]["digest"] for data in told} == {digest(blunt), digest(None)}
    last = told[-1]["calibration"]["agreement"]
    assert last["low"] <= last["mean"] <= last["high"]


def test_a_killed_service_goes_on_with_the_model_of_the_last_frame(trained, blunt, images):
    data, _, stream = trained
    with Session.open_read(data / "s") as session:
        before = session.models()
    given = ("--model", str(blunt))
    with running_service(data, *given) as (service, ports):
        publisher = Publisher(ports["frames"], "s", ack_timeout_s=1.0)
        with publisher:
            with Subscriber(ports["results"], "s", ("defects",)) as results:
                for image in images:
                    publisher.send(image)
                while results.receive(WAIT_S).frame < stream.sent + 3:
                    pass
            service.kill()
            service.wait(10)
            with running_service(data, *given, "--frames", ports["frames"]):
                publisher.end()
                assert publisher.flush(WAIT_S)
    with Session.open_read(data / "s") as session:
        assert session.models() == before
        assert len(session.frames()) == stream.sent + len(images)
        assert session.statistics()["model"]["digest"] == digest(None)
        late = session.defects(stream.sent)
    assert set(late.frame) == set(range(stream.sent, stream.sent + len(images)))


def test_low_agreement_is_in_health_in_the_log_and_over_when_frames_are_good(
    tmp_path, blunt, images, caplog, monkeypatch
):
    monkeypatch.setattr("latticewatch.service.HEALTH_EVERY_S", 0.05)
    caplog.set_level(logging.INFO, "latticewatch")
    service = Service(settings(tmp_path, blunt))
    healths: list[Health] = []

    def scene(stream: Stream, at: Listening) -> None:
        stream.until(fallen)
        asked = QueryClient(at.queries, WAIT_S).ask("checks", stream="s")
        assert asked["checks"][-1]["low"] == 1
        assert [row["digest"] for row in asked["models"]] == [digest(blunt)]
        with Subscriber(at.results, topics=("health",)) as results:
            while not healths or healths[-1].state == "ok":
                healths.append(results.receive(WAIT_S))
        stream.end()

    play(service, images, scene)
    assert "limit 0.85" in healths[-1].values["disagreeing"]["s"]
    said = [r for r in caplog.records if "limit 0.85" in r.getMessage()]
    assert [record.levelname for record in said] == ["WARNING"]
    assert "serve --self-train" in said[0].getMessage()
    # the same session, with a model that is well
    again = Service(settings(tmp_path, ZOO_MODEL))

    def recovery(stream: Stream, at: Listening) -> None:
        stream.until(lambda data: not fallen(data))
        stream.end()

    play(again, images, recovery)
    assert "agreement is back" in caplog.text
    with Session.open_read(tmp_path / "s") as session:
        reasons = [row["reason"] for row in session.models()]
    assert reasons[1] == "the service was started with another model"


def test_live_and_replay_agree_on_what_was_checked(tmp_path, blunt, images):
    np.save(tmp_path / "movie.npy", np.stack(images * 3))
    given = ["--out", str(tmp_path / "replay"), "--model", str(blunt)]
    assert main(["analyze", str(tmp_path / "movie.npy"), *given]) == 0
    service = Service(load_settings(
        endpoints={"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""},
        store={"data": tmp_path / "live"}, analysis={"model": blunt, "workers": 3},
    ))  # fmt: skip

    def scene(stream: Stream, at: Listening) -> None:
        while stream.sent < 3 * len(images):
            stream.send()
        stream.end()

    play(service, images, scene)
    with (
        Session.open_read(tmp_path / "replay") as replayed,
        Session.open_read(tmp_path / "live" / "s") as live,
    ):
        assert live.checks() == replayed.checks()
        assert [row["frame"] for row in live.checks()] == [0, 10, 20, 30]
        assert live.statistics()["calibration"] == replayed.statistics()["calibration"]


def test_self_training_without_torch_is_refused_with_the_mend(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else name)
    assert main(["serve", "--data", str(tmp_path), "--self-train"]) == 1
    assert "latticewatch[cpu,train]" in capsys.readouterr().err
