"""Self-training with trainers that copy a file: what starts it, what is told, what it leaves."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latticewatch.analysis import Analyser
from latticewatch.client.frames import FrameHeader
from latticewatch.config import CalibrationSettings
from latticewatch.judging import judge
from latticewatch.metrics import Metrics
from latticewatch.receiving.deliveries import Arrival
from latticewatch.recent import LEAST_LABELS, MOST_BYTES, RecentFrame, RecentFrames
from latticewatch.segmenters import Model, ModelInUse
from latticewatch.self_training import SelfTraining
from latticewatch.standing import Rule, Standing
from latticewatch.steps import Analysed, Outcome
from latticewatch.training_process import TrainingProcess
from latticewatch_models.microscope import Microscope, SpecimenConfig
from latticewatch_models.runtime import ZOO_MODEL, Segmenter

LOW = Standing(low=True)


def load(path: Path | None) -> Segmenter:
    return Segmenter(path, threads=1)


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def copies(model: Path) -> Callable[[Path, int, Path], list[str]]:
    """Trainer that checks its movie and gives a model that is there already."""
    code = (
        "import shutil, sys, numpy; _, movie, frames, model, out = sys.argv;"
        "assert len(numpy.load(movie)) == int(frames); shutil.copy(model, out); print('done')"
    )
    return lambda movie, frames, out: python(code, movie, frames, model, out)


@pytest.fixture(scope="module")
def checked(blunt) -> list[Analysed]:
    """Seven frames, analysed and checked with a model that sees nothing."""
    specimen = SpecimenConfig(metal_vacancy_fraction=0.05)
    analyser = Analyser(load(blunt), check=True)
    steps = []
    for number, frame in enumerate(Microscope("WS2", (128, 128), 3, specimen).frames(7)):
        header = FrameHeader("s", 1, number, frame.image.shape, frame.image.dtype.name, 0.0)
        arrival = Arrival("s", number, 1, number, header, frame.image, 0.0)
        steps.append(Analysed(arrival, analyser(frame.image)))
    return steps


class Scene:
    """A stream whose frames have been looked at, and the supervisor that looks after it."""

    def __init__(self, folder: Path, blunt: Path, trainer, **options) -> None:
        self.metrics = Metrics()
        settings = CalibrationSettings(**{"frames": 4, "self_train": True, **options})
        model = Model.of(load(blunt))
        self.models = ModelInUse(model, Analyser(model.segmenter), Rule(every=1))
        self.training = SelfTraining(settings, trainer, self.metrics)
        self.training.follow("s", folder, self.models, load)

    async def show(self, steps: list[Analysed], standing: Standing = LOW) -> None:
        for step in steps:
            self.training.observe(Outcome(step, standing=standing))
        if self.training._task is not None:
            await self.training._task

    @property
    def status(self) -> dict:
        return self.training.status()["s"]

    def count(self, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "latticewatch_self_trainings_total", {"stream": "s", "outcome": outcome}
        )


def run(scene: Scene, *shows) -> None:
    async def play() -> None:
        for show in shows:
            await scene.show(*show)
        await scene.training.close()

    asyncio.run(play())


def test_a_better_model_is_swapped_in_and_kept(tmp_path, blunt, checked):
    scene = Scene(tmp_path, blunt, copies(ZOO_MODEL))
    run(scene, (checked[:4],))
    _, record = scene.models.pick(4)
    assert record.digest == Model.of(load(None)).record.digest
    assert (tmp_path / record.file).read_bytes() == ZOO_MODEL.read_bytes()
    assert "in place of 0.00" in record.reason
    assert (scene.count("swapped"), scene.status["outcome"]) == (1, "swapped")
    (folder,) = (tmp_path / "self-training").iterdir()
    assert folder.name == "00000002"
    assert [file.name for file in folder.iterdir()] == ["train.log"]
    assert (folder / "train.log").read_text().strip() == "done"


def test_a_model_that_is_not_better_is_not(tmp_path, blunt, checked):
    scene = Scene(tmp_path, blunt, copies(blunt))
    before = scene.models.pick(4)
    run(scene, (checked[:4],))
    assert scene.models.pick(4) == before
    assert scene.count("worse") == 1
    assert "the old model stays" in scene.status["text"]
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("code", "options", "outcome", "words"),
    [
        ("import sys; sys.exit('no label')", {}, "failed", "status 1: no label"),
        ("pass", {}, "failed", "no such model"),
        ("import time; time.sleep(600)", {"timeout_s": 0.3}, "timeout", "ended after 0.3 s"),
    ],
)
def test_a_training_that_fails_is_told_and_not_tried_again_at_once(
    tmp_path, blunt, checked, code, options, outcome, words, caplog
):
    started = []

    def trainer(movie, frames, out):
        started.append(movie)
        return python(code)

    scene = Scene(tmp_path, blunt, trainer, apart=4, **options)
    before = scene.models.pick(4)
    run(scene, (checked[:4],), (checked[4:6],), (checked[6:],))
    assert scene.models.pick(4) == before
    # frames 0 to 2 were taught; 3, 4, 5 are too soon, and with frame 6 four are gathered again
    assert len(started) == 2
    assert scene.count(outcome) == 2
    assert words in scene.status["text"]
    assert sum(words in record.getMessage() for record in caplog.records) == 2
    assert scene.status["state"] == "idle"
    assert not list(tmp_path.rglob("frames.npy"))


def test_a_command_that_is_not_there_is_told(tmp_path, blunt, checked):
    scene = Scene(tmp_path, blunt, lambda *_: [str(tmp_path / "nothing")])
    run(scene, (checked[:4],))
    assert "cannot be started" in scene.status["text"]


def test_nothing_is_trained_while_agreement_is_well(tmp_path, blunt, checked):
    scene = Scene(tmp_path, blunt, copies(ZOO_MODEL))
    run(scene, (checked, Standing()))
    assert scene.status == {"state": "idle", "runs": 0, "waits": "agreement is not low"}


def test_a_service_that_comes_back_remembers_when_it_trained_last(tmp_path, blunt, checked):
    (tmp_path / "self-training" / "00000002").mkdir(parents=True)
    scene = Scene(tmp_path, blunt, copies(ZOO_MODEL), apart=100)
    run(scene, (checked,))
    assert scene.status["runs"] == 0
    assert "began with frame 2" in scene.status["waits"]


def told_by(fifo: Path) -> int:
    """Process number that a process which runs writes into a pipe."""
    return int(fifo.read_text())


def ended(pid: int) -> bool:
    """Wait for the end of a process that is not our child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def test_a_training_under_way_ends_with_the_service(tmp_path, blunt, checked, fifo):
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"

    async def play() -> None:
        scene = Scene(tmp_path, blunt, lambda *_: python(code, fifo))
        showing = asyncio.ensure_future(scene.show(checked[:4]))
        pid = await asyncio.to_thread(told_by, fifo)
        assert scene.status["state"] == "training"
        await scene.training.close()
        await asyncio.gather(showing, return_exceptions=True)
        assert ended(pid)
        assert not list(tmp_path.rglob("frames.npy"))

    asyncio.run(play())


def test_a_process_is_killed_with_what_it_started(tmp_path, fifo):
    child = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    process = TrainingProcess(python(code, child, fifo), tmp_path / "log")
    pid = told_by(fifo)
    process.kill()
    assert ended(pid)


def test_a_tethered_command_ends_when_its_starter_does(tmp_path):
    ports = [part for name in ("frames", "results", "queries")
             for part in (f"--{name}", "tcp://127.0.0.1:*")]  # fmt: skip
    command = [sys.executable, "-m", "latticewatch.tethered", "serve", "--data", str(tmp_path)]
    with subprocess.Popen(
        [*command, *ports, "--metrics", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"latticewatch serve: ")
        process.stdin.close()
        assert process.wait(30) == 1


def recent(count: int, shape=(64, 64), labels=10, most=8) -> RecentFrames:
    frames = RecentFrames(most)
    for number in range(count):
        frames.add(RecentFrame(number, np.zeros(shape, np.uint16), labels))
    return frames


def test_three_quarters_are_taught_and_the_newest_judge():
    frames = recent(20)
    assert not frames.lacking()
    assert [one.frame for one in frames.taught()] == [12, 13, 14, 15, 16, 17]
    assert [one.frame for one in frames.newer_than(17)] == [18, 19]
    frames.add(RecentFrame(20, np.zeros((64, 64), np.uint16), 10))
    assert [one.frame for one in frames.newer_than(17)] == [18, 19, 20]


def test_what_is_lacking_is_named():
    assert recent(3).lacking() == "3 of 8 frames are gathered"
    assert recent(0).lacking() == "0 of 8 frames are gathered"
    needed = f"{LEAST_LABELS} are needed"
    assert recent(8, labels=3).lacking() == f"18 columns are labelled, {needed}"


def test_memory_is_bounded_and_too_large_frames_are_named():
    frames = recent(8, (8192, 4096))
    assert sum(one.image.nbytes for one in frames.newer_than(-1)) <= MOST_BYTES
    assert "set calibration.frames to 4 or less" in frames.lacking()


def test_frames_of_another_shape_begin_anew():
    frames = recent(8)
    frames.add(RecentFrame(8, np.zeros((64, 80), np.uint16), 10))
    assert [one.frame for one in frames.newer_than(-1)] == [8]


def test_judging_needs_frames():
    with pytest.raises(ValueError, match="no frame"):
        judge(Analyser(load(None)), load(None), [])
