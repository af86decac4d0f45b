"""What the service counts, for Prometheus.

Names here are the contract of ``deploy/``: its dashboard and rules query them, and a test holds the
two together.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter as Counter_
from collections.abc import Iterator
from threading import Thread
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from latticewatch.agreement import Counts
from latticewatch.alerting import Watch
from latticewatch.binding import check_binding
from latticewatch.client.messages import Alert, DefectTable
from latticewatch.port import PortError
from latticewatch.receiving.ingest import IngestCounters
from latticewatch.standing import Standing

# a second series beside each counter that nobody queries
disable_created_metrics()  # type: ignore[no-untyped-call]

#: Stages of a frame, in order; the label values of ``latticewatch_stage_seconds``.
STAGES = (
    "condition", "register", "segment", "localise", "check", "describe", "track", "alert", "commit",
    "publish",
)  # fmt: skip

#: From 0.25 ms, below which no stage is worth a bucket, to 8 s, a frame that is stuck.
_BUCKETS = tuple(0.00025 * 2**k for k in range(16))


class _IngestCollector(Collector):
    """Shows the plain counts of the frame port as Prometheus counters."""

    def __init__(self, counters: IngestCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read the counts as they stand."""
        counts = self._counters
        for name, text, label, values in (
            ("received", "Frames that passed validation", "stream", counts.received),
            ("rejected", "Frames refused on arrival, by offending field", "field", counts.rejected),
            ("duplicate", "Frames sent again", "stream", counts.duplicate),
            ("missing", "Frames that never came", "stream", counts.missing),
            ("unanswered", "Left for a session that would not open", "stream", counts.unavailable),
            ("asked_again", "Frames asked for again", "stream", counts.asked_again),
            ("overrun", "Turned away, too many in hand", "stream", counts.overrun),
        ):
            family = CounterMetricFamily(f"latticewatch_frames_{name}", text, labels=[label])
            for value, count in values.copy().items():
                family.add_metric([value], count)
            yield family


class Metrics:
    """One registry with every series of the service.

    Parameters
    ----------
    ingest
        The frame port's own counts, read whenever somebody asks.

    Every instance has a registry of its own, so that two services in a process share no count.
    """

    def __init__(self, ingest: IngestCounters | None = None) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.ingest = ingest or IngestCounters()
        self.registry.register(_IngestCollector(self.ingest))
        self._seen: dict[str, set[str]] = {}
        self._of_frames()
        self._of_defects()
        self._of_models()
        self._of_devices()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"latticewatch_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"latticewatch_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(
            f"latticewatch_{name}", text, labels, registry=self.registry, buckets=_BUCKETS
        )

    def _of_frames(self) -> None:
        """Declare what becomes of frames, and how long it takes."""
        self.committed = self._counter(
            "frames_committed", "Frames counted and acknowledged", "stream"
        )
        self.unusable = self._counter(
            "frames_unusable", "Frames without analysable content, by offending field", "field"
        )
        self.queue_depth = self._gauge(
            "queue_depth", "Frames received and not yet committed", "stream"
        )
        self.stage = self._histogram("stage_seconds", "Time in one stage of a frame", "stage")
        self.latency = self._histogram(
            "frame_latency_seconds", "From a frame's arrival to its publication", "stream"
        )
        self.published = self._counter(
            "messages_published", "Messages handed to the socket", "kind"
        )
        self.superseded = self._counter(
            "overlays_superseded", "Overlays passed over for a newer one", "stream"
        )
        self.streams = self._gauge("streams", "Streams that are open")
        self.strips = self._counter(
            "strips", "Strips of frames that were being acquired, by what came of them",
            "stream", "outcome",
        )  # fmt: skip
        self.denied = self._counter(
            "denied", "Handshakes and messages of peers whose keys are not let in", "right"
        )

    def _of_defects(self) -> None:
        """Declare what is found, and what is said of it."""
        self.defects = self._gauge("defects", "Defects in the newest frame", "stream", "species")
        self.class_defects = self._counter(
            "class_defects", "Defects counted so far, by mixture class", "stream", "class_id"
        )
        self.alerts = self._counter(
            "alerts", "Alerts that were raised", "stream", "rule", "severity"
        )
        self.alert_active = self._gauge(
            "alert_active", "1 while an alert is raised", "stream", "rule", "severity"
        )

    def _of_models(self) -> None:
        """Declare how well the segmenter does, and what is done about it."""
        self.agreement = self._gauge(
            "agreement", "Agreement of segmenter and labels, its estimate and bounds",
            "stream", "bound",
        )  # fmt: skip
        self.agreement_low = self._gauge(
            "agreement_low", "1 while the service says that agreement is low", "stream"
        )
        self.checked = self._counter(
            "checked_columns", "Columns on which segmenter and labels were compared, by result",
            "stream", "result",
        )  # fmt: skip
        self.model_switches = self._counter(
            "model_switches", "Frames that were the first of another model", "stream"
        )
        self.training = self._gauge(
            "self_training", "1 while a model is trained or judged", "stream"
        )
        self.trainings = self._counter(
            "self_trainings", "Trainings that are over, by what came of them", "stream", "outcome"
        )

    def _of_devices(self) -> None:
        """Declare what becomes of devices."""
        self.provider_falls = self._counter(
            "provider_falls", "Times that a provider or device failed and another took over",
            "before", "after",
        )  # fmt: skip
        self.run_again = self._counter(
            "run_again", "Times that frames were run once more, since a device had assumed other "
            "sizes: seldom, unless the scale wanders", "stream",
        )  # fmt: skip
        self.device_moves = self._counter(
            "device_moves", "Streams that went on on another device, since theirs failed",
            "before", "after",
        )  # fmt: skip

    def observe_stages(self, timings_ms: dict[str, float]) -> None:
        """Add one frame's stage durations, in milliseconds by stage name."""
        for name, duration in timings_ms.items():
            self.stage.labels(name).observe(duration / 1000)

    def count_defects(self, stream: str, table: DefectTable) -> None:
        """Set the defects now by species, and add to the classes' counts."""
        now = Counter_(table.species.tolist())
        for species in self._seen.setdefault(stream, set()) | set(now):
            self.defects.labels(stream, species).set(now[species])
        self._seen[stream].update(now)
        for class_id, count in Counter_(table.class_id.tolist()).items():
            self.class_defects.labels(stream, class_id).inc(count)

    def count_strip(self, stream: str, outcome: str) -> None:
        """Count a strip of a frame that was being acquired, by what became of it."""
        self.strips.labels(stream, outcome).inc()

    def count_move(self, stream: str, before: str, after: str) -> None:
        """Count a stream that goes on on another device; called by any thread."""
        del stream  # in the log and in `health`
        self.device_moves.labels(before, after).inc()

    def count_superseded(self, stream: str, count: int) -> None:
        """Count overlays that one subscriber was not sent, since a newer one had come."""
        self.superseded.labels(stream).inc(count)

    def observe_standing(self, stream: str, standing: Standing) -> None:
        """Set agreement and what is said of it."""
        estimate = standing.estimate
        mean = math.nan if estimate.mean is None else estimate.mean
        for bound, value in (("mean", mean), ("low", estimate.low), ("high", estimate.high)):
            self.agreement.labels(stream, bound).set(value)
        self.agreement_low.labels(stream).set(standing.low)

    def count_check(self, stream: str, counts: Counts) -> None:
        """Add the columns of one checked frame."""
        for result, count in vars(counts).items():
            self.checked.labels(stream, result).inc(count)

    def observe_alerts(self, stream: str, watch: Watch) -> None:
        """Set which alerts are raised, when a stream is opened."""
        for rule in watch.rules:
            # at nought from the beginning: increase() cannot see a counter's birth
            self.alerts.labels(stream, rule.name, rule.severity)
            active = rule.name in watch.active
            self.alert_active.labels(stream, rule.name, rule.severity).set(active)

    def count_alert(self, alert: Alert) -> None:
        """Count an alert that was raised, and set whether it is."""
        labels = (alert.stream, alert.rule, alert.severity)
        self.alert_active.labels(*labels).set(alert.active)
        if alert.active:
            self.alerts.labels(*labels).inc()

    def serve(self, host: str, port: int) -> tuple[WSGIServer, Thread]:
        """Answer ``GET /metrics`` from a thread; shut the server down to end it.

        Raises
        ------
        OSError
            The address is taken.
        """
        return start_http_server(port, addr=host, registry=self.registry)

    @contextlib.contextmanager
    def port(self, url: str) -> Iterator[str]:
        """Serve metrics while inside; gives the address, empty where none is wanted.

        Raises
        ------
        BindingError
            The address may be reached by strangers.
        PortError
            It is taken.
        """
        if not url:
            yield ""
            return
        parts = urlsplit(url)
        check_binding(f"tcp://{parts.netloc}")
        try:
            server, thread = self.serve(parts.hostname or "127.0.0.1", parts.port or 0)
        except OSError as error:
            raise PortError(
                f"{url} cannot be bound ({error.strerror}): give another port, or none at all"
            ) from error
        try:
            yield f"http://{parts.hostname}:{server.server_port}/metrics"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
