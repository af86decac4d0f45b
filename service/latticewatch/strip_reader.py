"""One strip of a frame that is being acquired: what its rows show by themselves."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np

from latticewatch.client.overlays import PartialOverlay
from latticewatch.detections import FrameInfo
from latticewatch.preview import preview
from latticewatch.receiving.deliveries import Part
from latticewatch.segmenters import Analysis
from latticewatch.strips import Progress, Strip
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch_kernels.conditioning import FrameContentError
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_models.crystal import Crystal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """What is known of a frame after a strip, and its overlay; None where the analysis failed."""

    progress: Progress
    overlay: PartialOverlay | None


@dataclass(frozen=True)
class Reader:
    """What a strip is analysed with.

    Attributes
    ----------
    analyser
        That of whole frames.
    settings, crystal
        Of a tracker without a past, which names what the strip shows by itself.
    overlay_px
        Longest side of the whole frame's preview.
    """

    analyser: Analysis
    settings: TrackerSettings
    crystal: Crystal
    overlay_px: int

    def __call__(self, part: Part, strip: Strip, progress: Progress) -> Told:
        """Analyse a strip; one without a lattice (a hole) is shown without points."""
        start = time.perf_counter()
        try:
            progress = self._read(part, strip, progress)
        except (FrameContentError, NoLatticeError):
            progress = progress.without(strip)
        except Exception:
            log.exception("stream %s: the analysis of rows of a frame failed", part.stream)
            return Told(progress.without(strip), None)
        spent_ms = 1000 * (time.perf_counter() - start)
        return Told(progress, self._overlay(part, strip, progress, spent_ms))

    def _read(self, part: Part, strip: Strip, progress: Progress) -> Progress:
        image, header = part.image[strip.top : strip.bottom], part.header
        detections = self.analyser(image)
        info = FrameInfo(
            0, header.time_s, image.shape, header.pixel_size_nm, header.frame_time_s,
            header.dose_e_per_A2,
        )  # fmt: skip
        table = Tracker(self.settings, self.crystal).apply(info, detections).table
        points = np.stack([table["x_px"], table["y_px"] + strip.top], axis=-1)
        names = zip(table["species"], table["state"], strict=True)
        labels = tuple(str(state or species) for species, state in names)
        return progress.after(strip, points, labels, detections.lattice.constant)

    def _overlay(
        self, part: Part, strip: Strip, progress: Progress, analysis_ms: float
    ) -> PartialOverlay:
        header = part.header
        return PartialOverlay(
            stream=part.stream,
            epoch=part.epoch,
            frame=part.frame,
            time_s=header.time_s,
            sent_s=header.sent_s,
            image=preview(part.image[: strip.bottom], self.overlay_px, header.shape),
            frame_shape=header.shape,
            points=progress.points,
            labels=progress.labels,
            rows_done=strip.bottom,
            analysis_ms=analysis_ms,
        )
