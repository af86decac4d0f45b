"""Training on the newest frames when segmenter and labels disagree for long.

A thin shell: frames go to a folder, a process of its own trains on them, its model is judged on
other frames, and only where it is better do the next frames get it. One training at a time, as it
takes both cores. See docs/self-calibration.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from latticewatch.config import CalibrationSettings
from latticewatch.devices.placement import Placement
from latticewatch.judging import Verdict, judge
from latticewatch.metrics import Metrics
from latticewatch.recent import RecentFrame, RecentFrames
from latticewatch.segmenters import SELF_TRAINED, Model, ModelInUse, keep
from latticewatch.standing import Standing
from latticewatch.steps import Analysed, Outcome
from latticewatch.training_process import Trainer, TrainingError, TrainingProcess
from latticewatch_models.runtime import ModelError, Segmenter

log = logging.getLogger(__name__)

#: Folder of a stream's trainings, one folder in it for each, named after the newest frame taught.
TRAININGS_FOLDER = "self-training"

T = TypeVar("T")


@dataclass
class _Trainee:
    """What is kept of one stream."""

    folder: Path
    models: ModelInUse
    recent: RecentFrames
    load: Callable[[Path], Segmenter]
    last_start: int | None
    status: dict[str, Any] = field(default_factory=lambda: {"state": "idle", "runs": 0})


class SelfTraining:
    """Watches the outcomes of all streams and trains where it has to. Call it on the event loop.

    Parameters
    ----------
    options
        When, on what and for how long.
    trainer
        Gives the command that trains.
    metrics
        Counted into.
    """

    def __init__(
        self,
        options: CalibrationSettings,
        trainer: Trainer,
        metrics: Metrics,
    ) -> None:
        self._options = options
        self._trainer = trainer
        self._metrics = metrics
        self._trainees: dict[str, _Trainee] = {}
        self._task: asyncio.Task[None] | None = None
        self._process: TrainingProcess | None = None
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "latticewatch-self-training")

    def follow(
        self, stream: str, folder: Path, models: ModelInUse, load: Callable[[Path], Segmenter]
    ) -> None:
        """Look after a stream from now on; `load` makes a segmenter of a file on its device."""
        recent = RecentFrames(self._options.frames)
        self._trainees[stream] = _Trainee(folder, models, recent, load, _last_start(folder))
        self._metrics.training.labels(stream).set(0)

    def status(self) -> dict[str, Mapping[str, Any]]:
        """Return what is going on, by stream, in plain values."""
        return {name: dict(trainee.status) for name, trainee in self._trainees.items()}

    def observe(self, outcome: Outcome) -> None:
        """Keep a checked frame; start a training where agreement has been low for long."""
        step = outcome.step
        if outcome.standing is None or not isinstance(step, Analysed) or step.detections is None:
            return
        arrival, counts = step.arrival, step.detections.agreement
        if counts is None:
            return
        trainee = self._trainees[arrival.stream]
        labels = counts.agreed + counts.missed
        trainee.recent.add(RecentFrame(arrival.frame, arrival.image, labels))
        if self._task is None or self._task.done():
            reason = self._waiting_for(trainee, outcome.standing, arrival.frame)
            trainee.status["waits"] = reason
            if not reason:
                self._task = asyncio.ensure_future(self._train(arrival.stream, trainee))

    async def close(self) -> None:
        """End what is under way."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            if self._process is not None:
                self._process.kill()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=True)

    def _waiting_for(self, trainee: _Trainee, standing: Standing, frame: int) -> str:
        """Why no training starts now; empty where one does."""
        if not standing.low:
            return "agreement is not low"
        start = trainee.last_start
        if start is not None and frame - start < self._options.apart:
            return (
                f"the last training began with frame {start}, the next waits {self._options.apart}"
            )
        return trainee.recent.lacking()

    async def _train(self, stream: str, trainee: _Trainee) -> None:
        """Train, judge, swap; whatever goes wrong is told and leaves the old model in use."""
        taught = trainee.recent.taught()
        trainee.last_start = taught[-1].frame
        trainee.status |= {"state": "training", "frame": taught[-1].frame}
        trainee.status["runs"] += 1
        self._metrics.training.labels(stream).set(1)
        log.warning("stream %s: training on checked frames %d to %d", stream, taught[0].frame,
                    taught[-1].frame)  # fmt: skip
        try:
            outcome, text = await self._attempt(trainee, taught)
        except TrainingError as error:
            outcome, text = error.outcome, str(error)
        except (ModelError, OSError, ValueError) as error:
            outcome, text = "failed", str(error)
        except Exception as error:
            log.exception("stream %s: self-training broke", stream)
            outcome, text = "failed", repr(error)
        finally:
            trainee.status["state"] = "idle"
            self._metrics.training.labels(stream).set(0)
        trainee.status |= {"outcome": outcome, "text": text}
        self._metrics.trainings.labels(stream, outcome).inc()
        level = logging.INFO if outcome == "swapped" else logging.WARNING
        log.log(level, "stream %s: self-training %s: %s", stream, outcome, text)

    async def _attempt(self, trainee: _Trainee, taught: tuple[RecentFrame, ...]) -> tuple[str, str]:
        """Outcome and what to say of it."""
        last = taught[-1].frame
        run = trainee.folder / TRAININGS_FOLDER / f"{last:08d}"
        out = run / "model.onnx"
        movie = await self._in_thread(_write_frames, run, taught)
        try:
            command = self._trainer(movie, len(taught), out)
            await self._in_thread(self._run, command, run / "train.log")
        finally:
            movie.unlink(missing_ok=True)
        trainee.status["state"] = "judging"
        frames = [(frame.frame, frame.image) for frame in trainee.recent.newer_than(last)]
        verdict, model = await self._in_thread(_judged, trainee, out, frames)
        if model is None:
            return "worse", f"the old model stays: {verdict}"
        trainee.models.swap(model)
        return "swapped", str(verdict)

    def _run(self, command: list[str], log_path: Path) -> None:
        self._process = TrainingProcess(command, log_path)
        if self._closing:
            self._process.kill()
        self._process.wait(self._options.timeout_s)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _judged(
    trainee: _Trainee, out: Path, frames: list[tuple[int, np.ndarray]]
) -> tuple[Verdict, Model | None]:
    """Judge a new model; where it is better it is on the disk under its hash and ready."""
    # from the host both segmenters can be reached, wherever the stream has gone meanwhile
    analyser = replace(trainee.models.analyser, placement=Placement())
    verdict = judge(analyser, trainee.load(out), frames)
    if not verdict.better:
        return verdict, None
    path, name = keep(out, trainee.folder)
    out.unlink()
    reason = f"trained on the session's own frames: {verdict}"
    return verdict, Model.of(trainee.load(path), origin=SELF_TRAINED, file=name, reason=reason)


def _write_frames(folder: Path, frames: tuple[RecentFrame, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "frames.npy"
    np.save(path, np.stack([frame.image for frame in frames]))
    return path


def _last_start(folder: Path) -> int | None:
    """Return the newest frame of the last training, by the folders that trainings leave."""
    runs = (folder / TRAININGS_FOLDER).glob("[0-9]*")
    return max((int(run.name) for run in runs if run.name.isdigit()), default=None)
