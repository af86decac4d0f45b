"""The service: the way of a frame from the wire to its subscribers, stage by stage.

ingest -> condition -> register -> segment -> localise -> describe   (`analysis`, on workers)
       -> classify -> link -> count                                  (`tracker`, one writer)
       -> store -> publish -> acknowledge
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from latticewatch.about import about
from latticewatch.allocation import keep_freed_memory
from latticewatch.announce import timed
from latticewatch.client.messages import Alert, Defects, PartialOverlay
from latticewatch.config import Settings
from latticewatch.devices.lane import Machine
from latticewatch.devices.lanes import Lanes, Told
from latticewatch.devices.seats import Seat
from latticewatch.fairness import DeviceWorkers
from latticewatch.health import TOLD_FALLS, disagreeing, health
from latticewatch.metrics import Metrics
from latticewatch.opening import open_stream, strip_reader
from latticewatch.partials import Partials
from latticewatch.pipeline import StreamPipeline
from latticewatch.publishing import Publishing
from latticewatch.queries import Queries, store_handlers
from latticewatch.receiving.deliveries import Delivery, End, Refusal, StreamUnavailableError
from latticewatch.receiving.ingest import Ingest
from latticewatch.receiving.reorder import Position
from latticewatch.security import Admission, Keyring
from latticewatch.self_training import SelfTraining
from latticewatch.standing import Standing
from latticewatch.steps import Analysed, Outcome
from latticewatch.stopwatch import Stopwatch
from latticewatch.storage.schema import StoreError
from latticewatch.threads import blas_threads
from latticewatch.training_process import Trainer, check_trainable, latticewatch_train
from latticewatch.waiting import Waiting
from latticewatch_models.runtime import Fall

log = logging.getLogger(__name__)

#: A health message this often, seconds: a watcher that hears none for three times as long may
#: take the service for dead.
HEALTH_EVERY_S = 2.0


@dataclass(frozen=True)
class Listening:
    """Where the service really listens, once it does; port 0 in the settings takes a free one."""

    frames: str
    results: str
    queries: str
    metrics: str


class Service:
    """Runs until it is told to stop.

    Parameters
    ----------
    settings
        See `config.Settings`.
    trainer
        What trains a model where the settings ask for it; ``latticewatch train`` by default.
    machine
        How devices are looked at and taken into use.

    Raises
    ------
    ConfigError
        Self-training is asked for and what it needs is not installed.
    ModelError, ProviderError
        The segmenter cannot be had.
    BindingError
        An address that strangers could reach.
    KeyFileError
        The folder of keys cannot be used.
    """

    def __init__(
        self, settings: Settings, trainer: Trainer | None = None, machine: Machine | None = None
    ) -> None:
        self.settings = settings
        if settings.calibration.self_train and trainer is None:
            check_trainable()
        self._trainer = trainer or latticewatch_train(settings.calibration.iterations)
        self.metrics = Metrics()
        self._falls: list[Fall] = []
        keys = settings.security.keys
        self._keyring = None if keys is None else Keyring(keys)
        if self._keyring is not None:
            self._keyring.pair()  # it would be missed only when the ports are opened
        told = Told(self._note_fall, self.metrics.count_move)
        self._lanes = Lanes(settings, told, machine)
        self._about = about(self._lanes.model.segmenter)
        self._standings: dict[str, Standing] = {}
        self._training: SelfTraining | None = None
        self._pipelines: dict[str, StreamPipeline] = {}
        self._waiting = Waiting()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None]

    async def run(self, stop: asyncio.Event, ready: Callable[[Listening], None]) -> None:
        """Serve until `stop` is set; `ready` is called once every port is open.

        Raises
        ------
        PortError, OSError
            A port is taken.
        """
        ends, limits = self.settings.endpoints, self.settings.limits
        self._failed = asyncio.get_running_loop().create_future()
        self._workers = DeviceWorkers(
            self.settings.analysis.workers, "latticewatch-analysis", self._lanes.device_of
        )
        self._partials = Partials(self._publish_partial, self.metrics.count_strip)
        self._ingest = Ingest(
            ends.frames,
            self._deliver,
            resume=self._resume,
            growing=self._partials.grow,
            window=limits.reorder,
            max_streams=limits.streams,
            in_hand=limits.queue,
            counters=self.metrics.ingest,
            admission=self._admission("publish"),
        )
        self._publishing = Publishing(
            ends.results,
            admission=self._admission("subscribe"),
            superseded=self.metrics.count_superseded,
        )
        queries = Queries(
            ends.queries, store_handlers(self.settings.store.data), self._admission("control")
        )
        calibration = self.settings.calibration
        if calibration.self_train:
            self._training = SelfTraining(calibration, self._trainer, self.metrics)
        keep_freed_memory()
        try:
            async with self._ingest, self._publishing, queries:
                with blas_threads(), self.metrics.port(ends.metrics) as metrics_url:
                    listening = Listening(
                        self._ingest.endpoint, self._publishing.endpoint, queries.endpoint,
                        metrics_url,
                    )  # fmt: skip
                    for part in (
                        self._ingest.run(), self._publishing.run(), queries.run(),
                        self._partials.run(),
                    ):  # fmt: skip
                        self._start(part)
                    self._start(self._report_health())
                    ready(listening)
                    await self._until(stop)
        finally:
            self._partials.close()
            self._workers.close()

    async def _until(self, stop: asyncio.Event) -> None:
        """Wait for `stop` or for a part to fail; then let the writers finish and close."""
        stopped = asyncio.ensure_future(stop.wait())
        either: set[asyncio.Future[Any]] = {stopped, self._failed}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(stopped, *self._tasks, return_exceptions=True)
            if self._training is not None:
                await self._training.close()
            for pipeline in self._pipelines.values():
                pipeline.close()
        if self._failed.done():
            self._failed.result()

    def _start(self, part: Coroutine[Any, Any, None]) -> None:
        """Run a part in the background; its failure ends the service."""
        task = asyncio.ensure_future(part)
        self._tasks.add(task)
        task.add_done_callback(self._note_failure)

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._failed.done():
            self._failed.set_exception(task.exception())  # type: ignore[arg-type]

    async def _resume(self, stream: str) -> Position:
        """Open a stream's session, new or as it was left, and start its pipeline."""
        self._waiting.check(stream)
        seat = Seat(self._lanes, stream)
        try:
            writer, models = await asyncio.to_thread(
                open_stream, stream, self.settings, seat, self._about
            )
        except (StoreError, ValueError) as error:
            self._lanes.release(stream)
            if self._waiting.not_opened(stream, error):
                log.warning("stream %s waits: %s", stream, error)
            raise StreamUnavailableError(stream, str(error)) from error
        self._waiting.opened(stream)
        for message in writer.latest():
            self._publishing.seed(message)
        pipeline = StreamPipeline(
            writer, models, self._workers, self._settled, self.settings.limits.overlay_px
        )
        self._pipelines[stream] = pipeline
        self._partials.open(
            stream, lambda: strip_reader(seat.later(models.analyser), self.settings)
        )
        self.metrics.observe_alerts(stream, writer.watch)
        if writer.standing.checks or writer.standing.low:
            self._take_standing(stream, writer.standing)
        if self._training is not None:
            self._training.follow(stream, writer.directory, models, seat.load)
        self.metrics.streams.set(len(self._pipelines))
        self._start(self._write(stream, pipeline))
        return writer.position

    async def _write(self, stream: str, pipeline: StreamPipeline) -> None:
        """Move a stream's frames through; when its file fails, they wait at their source."""
        try:
            await pipeline.run()
        except StoreError as error:
            if self._waiting.not_written(stream, error):
                log.warning("stream %s waits: %s", stream, error)
            # what is in hand was not acknowledged: it comes again, and opens the session anew
            self._ingest.forget(stream)
            self._partials.dropped(stream)
            del self._pipelines[stream]
            self.metrics.streams.set(len(self._pipelines))
            self.metrics.queue_depth.labels(stream).set(0)
            pipeline.close()

    def _admission(self, right: str) -> Admission | None:
        """Make who is let in at a port; None where the settings ask for no keys."""
        if self._keyring is None:
            return None
        return Admission(self._keyring, right, lambda of: self.metrics.denied.labels(of).inc())

    def _note_fall(self, fall: Fall) -> None:
        """Count a provider that failed; called by the worker whose frame met it."""
        self._falls.append(fall)
        del self._falls[:-TOLD_FALLS]
        self.metrics.provider_falls.labels(fall.before, fall.after).inc()

    async def _publish_partial(self, overlay: PartialOverlay) -> None:
        await self._publishing.publish(overlay)
        self.metrics.published.labels(overlay.kind).inc()

    async def _deliver(self, delivery: Delivery) -> None:
        pipeline = self._pipelines.get(delivery.stream)
        if pipeline is not None:  # else its file has just failed, and the frame comes again
            self._partials.delivered(delivery.stream, delivery.frame)
            pipeline.put(delivery)

    async def _settled(self, outcome: Outcome) -> None:
        """Publish what is committed, then tell the source."""
        if self._waiting.committed(outcome.stream):
            log.info("stream %s goes on: its session is written again", outcome.stream)
        watch = Stopwatch()
        with watch.stage("publish"):
            for message in outcome.messages:
                await self._publishing.publish(timed(message, outcome))
                self.metrics.published.labels(message.kind).inc()
        self._partials.settled(outcome.stream)
        self._measure(outcome, watch)
        if self._training is not None:
            self._training.observe(outcome)
        await self._answer(outcome)
        for stream, pipeline in self._pipelines.items():
            self.metrics.queue_depth.labels(stream).set(pipeline.in_hand)

    async def _answer(self, outcome: Outcome) -> None:
        step = outcome.step
        if isinstance(step, End):
            await self._ingest.ended(step.stream, step.epoch, step.seq)
        elif isinstance(step, Refusal):
            await self._ingest.reject(step.stream, step.epoch, step.seq, step.error)
        elif isinstance(step, Analysed):
            arrival = step.arrival
            if step.error is not None:
                self.metrics.unusable.labels(step.error.field).inc()
                await self._ingest.reject(arrival.stream, arrival.epoch, arrival.seq, step.error)
            else:
                await self._ingest.ack(arrival.stream, arrival.epoch, [arrival.seq])

    def _measure(self, outcome: Outcome, watch: Stopwatch) -> None:
        step = outcome.step
        for message in outcome.messages:
            if isinstance(message, Alert):
                self.metrics.count_alert(message)
        self.metrics.observe_stages({**outcome.timings_ms, **watch.timings_ms})
        if not isinstance(step, Analysed):
            return
        stream = step.arrival.stream
        if step.detections is not None:
            self.metrics.observe_stages(step.detections.timings_ms)
            self.metrics.run_again.labels(stream).inc(step.detections.runs - 1)
        self.metrics.committed.labels(stream).inc()
        self.metrics.latency.labels(stream).observe(time.time() - step.arrival.received_s)
        if outcome.model is not None and step.arrival.frame:
            self.metrics.model_switches.labels(stream).inc()
        if outcome.standing is not None:
            self.metrics.count_check(stream, outcome.standing.checks[-1].counts)
            self._take_standing(stream, outcome.standing)
        for message in outcome.messages:
            if isinstance(message, Defects):
                self.metrics.count_defects(stream, message.table)

    def _take_standing(self, stream: str, standing: Standing) -> None:
        self._standings[stream] = standing
        self.metrics.observe_standing(stream, standing)

    async def _report_health(self) -> None:
        limit = self.settings.calibration.limit
        while True:
            message = health(
                {name: pipeline.in_hand for name, pipeline in self._pipelines.items()},
                self.metrics.ingest,
                self._lanes.status(),
                self._falls,
                unavailable=self._waiting.reasons,
                disagreeing=disagreeing(self._standings, limit),
                self_training={} if self._training is None else self._training.status(),
            )
            await self._publishing.publish(message)
            await asyncio.sleep(HEALTH_EVERY_S)
