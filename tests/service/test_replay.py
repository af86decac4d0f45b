"""A live session, its replay, and a session whose service was killed: the same numbers."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet
import pytest

from latticewatch.cli import main
from latticewatch.client.messages import COLUMNS, DefectTable
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import running_service
from latticewatch.storage.session import Session
from latticewatch_models.microscope import Microscope

FRAMES = 16


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "movie.npy"
    frames = Microscope("WS2", (160, 160), seed=9).frames(FRAMES)
    np.save(path, np.stack([frame.image for frame in frames]))
    return path


@pytest.fixture(scope="module")
def replayed(movie, tmp_path_factory):
    out = tmp_path_factory.mktemp("replay") / "out"
    calibration = ["--pixel-size", "0.03", "--frame-time", "2.25"]
    assert main(["analyze", str(movie), "--out", str(out), "--picture", *calibration]) == 0
    return out


def results(folder) -> tuple[DefectTable, dict, dict]:
    with Session.open_read(folder) as session:
        statistics = session.statistics()
        table = session.defects()
        pictures = {frame: session.picture(frame).image.tobytes() for frame in session.pictures()}
    told = {k: v for k, v in statistics.items() if k not in ("stream", "epoch")}
    return table, told, pictures


def state(folder) -> bytes:
    """The tracker's, as the session keeps it."""
    with Session.open_read(folder) as session:
        return session.state()


def send(publisher: Publisher, movie) -> None:
    for number, image in enumerate(np.load(movie)):
        publisher.send(image, time_s=2.25 * number, pixel_size_nm=0.03, frame_time_s=2.25)


def test_analyze_writes_what_it_promises(replayed):
    table, statistics, pictures = results(replayed)
    assert list(pictures) == list(range(FRAMES))
    assert statistics["frames"] == FRAMES
    assert statistics["ended"]
    assert json.loads((replayed / "statistics.json").read_text())["frames"] == FRAMES
    stored = pyarrow.parquet.read_table(replayed / "defects.parquet")
    assert tuple(stored.column_names) == COLUMNS
    assert DefectTable.from_dict({name: stored[name].to_numpy() for name in COLUMNS}) == table
    assert len(list(replayed.glob("overlay-*.png"))) == FRAMES
    assert abs(statistics["lattice"]["deviation"]["mean"]) < 0.005


def test_a_session_folder_is_not_written_over(movie, replayed, capsys):
    assert main(["analyze", str(movie), "--out", str(replayed)]) == 2
    assert "holds a session already" in capsys.readouterr().err


def test_a_live_session_gives_the_numbers_of_its_replay(movie, replayed, tmp_path):
    with (
        running_service(tmp_path) as (_, ports),
        Publisher(ports["frames"], "live") as publisher,
    ):
        send(publisher, movie)
        publisher.end()
        assert publisher.flush(60)
    assert results(tmp_path / "live") == results(replayed)
    assert state(tmp_path / "live") == state(replayed)


def test_a_killed_service_resumes_and_ends_with_the_same_numbers(movie, replayed, tmp_path):
    with running_service(tmp_path) as (service, ports):
        publisher = Publisher(ports["frames"], "live", ack_timeout_s=1.0)
        try:
            with Subscriber(ports["results"], "live", ("defects",)) as subscriber:
                send(publisher, movie)
                while subscriber.receive(60).frame < FRAMES // 3:
                    pass
            service.kill()
            service.wait(10)
            with running_service(tmp_path, "--frames", ports["frames"]):
                publisher.end()
                assert publisher.flush(60)
        finally:
            publisher.close()
    assert not publisher.errors
    assert results(tmp_path / "live") == results(replayed)
    assert state(tmp_path / "live") == state(replayed)


def test_a_movie_without_a_lattice_fails_with_the_reason(tmp_path, capsys):
    noise = np.random.default_rng(1).poisson(20, (2, 128, 128)).astype(np.uint16)
    np.save(tmp_path / "noise.npy", noise)
    assert main(["analyze", str(tmp_path / "noise.npy"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("not used") == 2
    assert "lattice" in error
