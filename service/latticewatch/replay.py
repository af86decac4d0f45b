"""A recorded movie through the very pipeline of the live service, without its sockets."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latticewatch.about import about
from latticewatch.allocation import keep_freed_memory
from latticewatch.client.errors import FrameError
from latticewatch.client.frames import encode_frame, frame_array, parse_header
from latticewatch.client.messages import Defects, Statistics
from latticewatch.config import Settings
from latticewatch.devices.lanes import Lanes
from latticewatch.devices.seats import Seat
from latticewatch.opening import analyser_for
from latticewatch.picture import save_overlay
from latticewatch.pipeline import analyse
from latticewatch.receiving.deliveries import Arrival, End, Refusal
from latticewatch.recipe import recipe
from latticewatch.segmenters import ModelInUse
from latticewatch.sources import Movie
from latticewatch.steps import Analysed, Outcome
from latticewatch.threads import blas_threads
from latticewatch.writer import StreamWriter, tracker_settings
from latticewatch_models.crystal import crystal_named

#: A replay has one source and one run: any number does, and a fixed one makes replays repeatable.
EPOCH = 1


@dataclass(frozen=True)
class Replay:
    """A movie to be analysed.

    Attributes
    ----------
    movie, out, settings
        What, whereto, how.
    pixel_size_nm, frame_time_s
        Calibration; None where it is not known.
    pictures
        Write an overlay of every frame.
    """

    movie: Movie
    out: Path
    settings: Settings
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None
    pictures: bool = False


def replay(job: Replay, progress: Callable[[int, int], None]) -> Mapping[str, Any]:
    """Analyse a movie into a new session folder; returns the statistics.

    Parameters
    ----------
    job
        What to do.
    progress
        Called with frames done and frames in all.

    Raises
    ------
    StoreError, ModelError, ConfigError
        As the live service would.
    """
    options = job.settings.analysis
    stream = _stream_name(job.movie.path)
    seat = Seat(Lanes(job.settings, reason="the analysis was started with it"), stream)
    model, rule = seat.model, job.settings.calibration.rule
    analyser = analyser_for(model.segmenter, options, seat.placement)
    models = ModelInUse(model, analyser, rule, seat.later)
    writer = StreamWriter(
        stream,
        job.out,
        tracker_settings(job.settings),
        crystal_named(options.crystal),
        fsync=job.settings.store.fsync,
        about=about(model.segmenter),
        rule=rule,
        alerts=job.settings.alert_rules(),
    )
    try:
        writer.record(recipe(job.settings, model, seat.placement))
        for done, step in enumerate(_analysed(job, models, writer.stream), 1):
            (outcome,) = writer.process([step], more=True)  # the end, if nothing else
            if job.pictures:
                _picture(job, outcome)
            progress(done, job.movie.count)
        count = job.movie.count
        outcome = writer.process([End(writer.stream, count, EPOCH, count)])[-1]
    finally:
        writer.close()
    return next(m.data for m in outcome.messages if isinstance(m, Statistics))


def _analysed(job: Replay, models: ModelInUse, stream: str) -> Iterator[Analysed | Refusal]:
    """Frames in order, a few of them analysed ahead."""
    workers = job.settings.analysis.workers
    ahead: deque[Future[Analysed | Refusal]] = deque()
    keep_freed_memory()
    with blas_threads(), ThreadPoolExecutor(workers, "latticewatch-analysis") as pool:
        for number in range(job.movie.count):
            ahead.append(pool.submit(_analyse_frame, job, models, stream, number))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _analyse_frame(job: Replay, models: ModelInUse, stream: str, number: int) -> Analysed | Refusal:
    """Check a frame as the wire would check it, then analyse it."""
    try:
        packed, buffer = encode_frame(
            job.movie.read(number),
            stream=stream,
            epoch=EPOCH,
            seq=number,
            time_s=number * (job.frame_time_s or 1.0),
            pixel_size_nm=job.pixel_size_nm,
            frame_time_s=job.frame_time_s,
        )
        header = parse_header(packed)
        image = frame_array(header, buffer)
    except FrameError as error:
        return Refusal(stream, number, EPOCH, number, error)
    analyser, record = models.pick(number)
    arrival = Arrival(stream, number, EPOCH, number, header, image, 0.0)
    return analyse(arrival, analyser, None, record)


def _picture(job: Replay, outcome: Outcome) -> None:
    step = outcome.step
    if not isinstance(step, Analysed) or step.detections is None:
        return
    table = next(m.table for m in outcome.messages if isinstance(m, Defects))
    save_overlay(
        job.out / f"overlay-{step.arrival.frame:04d}.png",
        step.arrival.image,
        table,
        title=f"{job.movie.path.name}, frame {step.arrival.frame}: {len(table)} defects",
        pixel_size_nm=job.pixel_size_nm,
        lattice_px=step.detections.lattice.constant,
    )


def _stream_name(path: Path) -> str:
    """Name that the wire format allows, after the file's."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)[:64] or "movie"
